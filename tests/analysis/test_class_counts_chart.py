import io
import math

import cv2
import numpy as np
import pytest
from rich.console import Console

from mmrecall.analysis.class_statistics import class_counts_table, draw_class_counts
from mmrecall.datasets import LabelCounts

PIXELS = LabelCounts(
    ['road', 'car', 'pole', 'none'], [900, 90, 9, 0], [3, 2, 1, 0], [999, 980, 50, 0], 1, 1000, 3, 'pixels'
)
BLUE = (0x00, 0x72, 0xB2)


def printed(found):
    file = io.StringIO()
    Console(file=file, width=120).print(class_counts_table(found))
    return [line.split() for line in file.getvalue().splitlines()]


def with_sum_of_four(weights):
    return [f'{4 * weight / sum(weights):.3g}' for weight in weights]


def test_the_table_has_number_share_images_and_the_weights_of_every_scheme():
    lines = printed(PIXELS)
    inverse = with_sum_of_four([1 / 900, 1 / 90, 1 / 9, 0])
    # the median over f = 900/999, 90/980, 9/50 cancels
    median = with_sum_of_four([999 / 900, 980 / 90, 50 / 9, 0])
    effective = with_sum_of_four([1 / (1 - (998 / 999) ** count) if count else 0 for count in PIXELS.counts])
    enet = with_sum_of_four([1 / math.log(1.02 + count / 999) if count else 0 for count in PIXELS.counts])
    shares, images = ['90.00', '9.00', '0.90', '0.00'], ['3', '2', '1', '0']
    schemes = (inverse, median, effective, enet)
    for *row, count in zip(PIXELS.classes, shares, images, *schemes, PIXELS.counts, strict=True):
        assert [row[0], str(count), *row[1:]] in lines
    assert ['unlabelled', '1', '0.10'] in lines
    assert ['all', '1,000'] in lines


def test_names_of_classes_are_neither_markup_nor_formulas(tmp_path):
    found = PIXELS._replace(classes=['[red]', '$x_$', 'pole', 'none'])
    assert [line[0] for line in printed(found) if line[1:2] == ['900']] == ['[red]']
    draw_class_counts(tmp_path / 'chart.png', found)
    assert blue(tmp_path / 'chart.png').any()


def test_a_share_that_rounds_to_nothing_is_not_nothing():
    found = PIXELS._replace(counts=[10**6, 7, 1, 0], image_totals=[10**6, 10**6, 10**6, 0], total=10**6 + 9)
    assert [line[2] for line in printed(found) if line[:1] in (['car'], ['pole'], ['none'])] == [
        '0.0007',
        '0.0001',
        '0.00',
    ]


def test_images_have_a_median_frequency_without_totals():
    lines = printed(PIXELS._replace(image_totals=None, unit='images', images=PIXELS.counts))
    (car,) = (line for line in lines if line[:1] == ['car'])
    assert car[4] == car[5] == '0.36'


def blue(path):
    """Where the chart is blue: (H, W)."""
    return (cv2.imread(str(path))[..., ::-1] == BLUE).all(-1)


def test_bars_are_logarithmic_and_sorted(tmp_path):
    shuffled = PIXELS._replace(counts=[9, 900, 0, 90])
    draw_class_counts(tmp_path / 'new' / 'chart.png', shuffled)
    lengths = blue(tmp_path / 'new' / 'chart.png').sum(1)
    bars = lengths[np.flatnonzero(np.diff(lengths, prepend=0) > 0)]
    assert len(bars) == 3
    # each ten times as large is as much longer
    assert bars[0] - bars[1] == pytest.approx(bars[1] - bars[2], abs=2)
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['chart.png']


def chart_of_many(path, classes):
    """Where the chart of so many classes is blue."""
    counts = [int(5000 * 0.001 ** (number / classes)) for number in range(classes)]
    names = [f'class number {number} with a long name' for number in range(classes)]
    draw_class_counts(path, LabelCounts(names, counts, counts, None, 0, sum(counts), sum(counts), 'images'))
    return blue(path)


def runs(line):
    """Number of uninterrupted stretches."""
    return int((np.diff(line.astype(int), prepend=0) > 0).sum())


@pytest.mark.parametrize(('classes', 'columns'), [(75, 1), (365, 5)])
def test_every_class_has_a_bar_on_a_picture_that_fits_a_screen(classes, columns, tmp_path):
    where = chart_of_many(tmp_path / 'chart.png', classes)
    assert max(where.shape) < 2200
    assert runs(where.any(0)) == columns
    assert runs(where.any(1)) == classes // columns


def test_thousands_of_classes_are_one_falling_curve(tmp_path):
    where = chart_of_many(tmp_path / 'chart.png', 8142)
    assert max(where.shape) < 1000
    heights = where.sum(0)
    heights = heights[heights > 0.1 * len(where)]
    assert len(heights) > 0.85 * where.shape[1]
    # grid lines take a pixel
    assert (np.diff(heights) <= 8).all()
    assert heights[0] > 3 * heights[-1]
