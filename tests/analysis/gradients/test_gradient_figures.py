import csv
import io

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from mmrecall.analysis.gradients import ClassGradients
from mmrecall.analysis.gradients.comparison import ComparedGradients
from mmrecall.analysis.gradients.figures import draw_gradients, gradients_table, write_gradients
from mmrecall.functional import ClassStatistics

BLUE, VERMILION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def gradients(positive, negative):
    return ClassGradients(torch.tensor(positive).double(), torch.tensor(negative).double())


FOUND = ComparedGradients(
    ['pole', 'road', '[bus]'],
    ClassStatistics(torch.tensor([10, 90, 0]), torch.tensor([5, 95, 0]), torch.tensor([4, 81, 0])),
    {'ce': gradients([1.0, 5.0, 0.0], [2.0, 1.0, 3.0]), 'recall': gradients([6.0, 2.0, 0.0], [4.0, 4.0, 0.0])},
    'pixels',
)


def printed(found):
    file = io.StringIO()
    Console(file=file, width=120).print(gradients_table(found))
    return [line.split() for line in file.getvalue().splitlines() if line.strip()]


def test_the_table_has_shares_and_ratios_by_class_the_most_frequent_first():
    lines = printed(FOUND)
    assert lines[0] == ['class', '%', 'pixels', '%', 'recall', 'ce', 'recall']
    assert lines[2:] == [
        ['positive', 'gradient,', '%'],
        ['road', '90.0', '90.0', '41.7', '12.5'],
        ['pole', '10.0', '40.0', '8.3', '37.5'],
        ['[bus]', '0.0', '-', '0.0', '0.0'],
        ['negative', 'gradient,', '%'],
        ['road', '90.0', '90.0', '8.3', '25.0'],
        ['pole', '10.0', '40.0', '16.7', '25.0'],
        ['[bus]', '0.0', '-', '25.0', '0.0'],
        ['positive', '/', 'negative'],
        ['road', '90.0', '90.0', '5.00', '0.50'],
        ['pole', '10.0', '40.0', '0.50', '1.50'],
        ['[bus]', '0.0', '-', '0.00', '-'],
    ]


def test_names_of_losses_are_no_markup():
    found = FOUND._replace(gradients={'ce': FOUND.gradients['ce'], '[red]': FOUND.gradients['recall']})
    assert printed(found)[0][-2:] == ['ce', '[red]']


def test_dollars_in_names_are_no_formula(tmp_path):
    found = FOUND._replace(classes=['$x_$', 'road', 'bus'], gradients={'$y^$': FOUND.gradients['ce']}, unit='$_$')
    draw_gradients([tmp_path / 'chart.png'], found)
    assert (tmp_path / 'chart.png').is_file()


def test_a_loss_without_any_gradient_has_no_ratio():
    found = FOUND._replace(gradients={'recall': gradients([-0.0, 0.0, 0.0], [0.0, 0.0, 0.0])})
    assert ['road', '90.0', '90.0', '0.0'] in printed(found)
    assert ['road', '90.0', '90.0', '-'] in printed(found)


def test_ratios_without_measure_are_cut_and_long_names_are_broken_at_their_hyphens():
    name = 'resnet18w16_1xb128-balanced-softmax'
    found = FOUND._replace(gradients={name: gradients([1.0, 5.0, -2.0], [0.0, 1e-9, 1e-9])})
    lines = printed(found)
    assert [line[-1] for line in lines[:2]] == ['resnet18w16_1xb128-', 'balanced-']
    assert lines[2][-1] == 'softmax'
    assert [line[-1] for line in lines[-3:]] == ['>999', '>999', '<-999']


def test_the_number_of_a_bar_down_is_below_it_even_without_height(tmp_path):
    found = FOUND._replace(gradients={'ce': gradients([8.0, 8.0, 0.0], [0.0, 0.0, 16.0])})
    draw_gradients([tmp_path / 'chart.png'], found)
    image = cv2.imread(str(tmp_path / 'chart.png'))[..., ::-1].astype(int)
    blue = (image == BLUE).all(-1)[:-60]
    rows, columns = np.flatnonzero(blue.any(1)), np.flatnonzero(blue.any(0))
    first = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)[0]
    inside = image[rows.min() + 2 : rows.max() - 2, first.min() + 2 : first.max() - 2]
    # a number would be darker
    assert inside.min(axis=(0, 1)).tolist() == list(BLUE)


def test_the_csv_has_the_unscaled_gradients_too(tmp_path):
    write_gradients(tmp_path / 'new' / 'gradients.csv', FOUND)
    with open(tmp_path / 'new' / 'gradients.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['name'], row['loss']) for row in rows[:4]] == [
        ('pole', 'ce'), ('road', 'ce'), ('[bus]', 'ce'), ('pole', 'recall'),
    ]  # fmt: skip
    assert float(rows[3]['positive_gradient']) == 6
    assert float(rows[3]['negative_gradient']) == 4
    assert float(rows[3]['positive_gradient_share']) == pytest.approx(6 / 16)
    assert sum(float(row['positive_gradient_share']) + float(row['negative_gradient_share']) for row in rows[:3]) == 1


def heights(path, color, panels):
    """Of the bars of a colour, from left to right, in each panel from top to bottom; the legend is left out."""
    image = cv2.imread(str(path))[..., ::-1]
    found = (image == color).all(-1)[:-60]
    rows = np.flatnonzero(found.any(1))
    tops = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    assert len(tops) == panels
    result = []
    for part in tops:
        columns = found[part].sum(0)
        edges = np.flatnonzero(np.diff((columns > 0).astype(int), prepend=0) > 0)
        result.append([int(columns[edge + 2]) for edge in edges])
    return result


def test_positive_bars_go_up_and_negative_ones_down_on_one_scale(tmp_path):
    draw_gradients([tmp_path / 'chart.png', tmp_path / 'chart.svg'], FOUND)
    up, down = (heights(tmp_path / 'chart.png', color, panels=2) for color in (BLUE, VERMILION))
    pixel = up[0][0] / 41.67
    assert up[0] == pytest.approx([41.67 * pixel, 8.33 * pixel], abs=3)
    assert up[1] == pytest.approx([12.5 * pixel, 37.5 * pixel], abs=3)
    assert down[0] == pytest.approx([8.33 * pixel, 16.67 * pixel, 25 * pixel], abs=3)
    assert down[1] == pytest.approx([25 * pixel, 25 * pixel], abs=3)
    assert '<svg' in (tmp_path / 'chart.svg').read_text()


def test_hundreds_of_classes_fit_a_screen(tmp_path):
    number = 365
    ones = torch.ones(number).double()
    found = ComparedGradients(
        [f'class number {index} with a long name' for index in range(number)],
        ClassStatistics(torch.arange(number), torch.arange(number), torch.arange(number)),
        {name: ClassGradients(ones, ones) for name in ('ce', 'recall', 'focal')},
        'images',
    )
    draw_gradients([tmp_path / 'chart.png'], found)
    assert max(cv2.imread(str(tmp_path / 'chart.png')).shape) < 1700
