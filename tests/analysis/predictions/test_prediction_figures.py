import cv2
import numpy as np
import pytest

from mmrecall.analysis.predictions.disagreement import ComparedImage
from mmrecall.analysis.predictions.figures import draw_compared_predictions, draw_predictions

CLASSES = ('road', 'pole', 'car')
PALETTE = np.array([[128, 64, 128], [220, 220, 0], [0, 0, 142]], np.uint8)
MISSED, WRONG = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)


def drawn(path, truth, prediction, shown, classes=CLASSES):
    image = np.full((*truth.shape, 3), 200, np.uint8)
    compared = ComparedImage('a', 'a.png', truth, (truth % 255, prediction), len(CLASSES))
    draw_compared_predictions(path, image, compared, ['right', 'other'], classes, PALETTE, shown)
    return cv2.imread(str(path))[..., ::-1]


def areas(picture, color):
    """Pixels of a colour in each of the four columns."""
    marked = (picture == color).all(-1)
    # names and legend are smaller than any map
    return [int(column.sum()) for column in np.array_split(marked, 4, axis=1)]


def test_missed_and_wrongly_found_pixels_have_colours_of_their_own(tmp_path):
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 10:20] = 1
    prediction = np.zeros_like(truth)
    prediction[:, 40:60] = 1
    picture = drawn(tmp_path / 'p.png', truth, prediction, [1])
    missed, wrong = areas(picture, MISSED), areas(picture, WRONG)
    # the first column has the legend; the model that is right has no error
    assert missed[1] == missed[2] == wrong[1] == wrong[2] == 0
    assert 1.8 < wrong[3] / missed[3] < 2.2
    assert missed[3] > 5000


def test_unlabelled_pixels_are_drawn_as_no_error(tmp_path):
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 30:] = 255
    prediction = np.zeros_like(truth)
    prediction[:, 40:] = 1
    picture = drawn(tmp_path / 'p.png', truth, prediction, [1, 0])
    assert areas(picture, MISSED)[1:] == areas(picture, WRONG)[1:] == [0, 0, 0]


def test_every_shown_class_has_a_row_of_its_own(tmp_path):
    truth = np.arange(80)[None].repeat(60, 0) // 30
    one, three = (drawn(tmp_path / 'p.png', truth, truth % 2, shown) for shown in ([0], [0, 1, 2]))
    assert one.shape[1] == three.shape[1]
    panel = one.shape[1] / 4 * 60 / 80
    assert 2 * panel < three.shape[0] - one.shape[0] < 2.5 * panel


def test_dollars_in_names_are_no_formula(tmp_path):
    truth = np.arange(80)[None].repeat(60, 0) // 30
    picture = drawn(tmp_path / 'p.png', truth, truth % 2, [0], ['$x_$', '$y^$', 'car'])
    assert picture.size


def test_highlighted_classes_are_drawn_in_their_colours(tmp_path):
    image = np.full((40, 80, 3), 200, np.uint8)
    truth = np.zeros((40, 80), np.uint8)
    truth[:, 40:] = 1
    missed = np.zeros_like(truth)
    draw_predictions(tmp_path / 'p.png', [(image, truth, [missed])], ['model'], ['road', 'bicycle'], ['bicycle'])
    picture = cv2.imread(str(tmp_path / 'p.png'))[..., ::-1]
    vivid = (picture == (0xD5, 0x5E, 0x00)).all(-1)
    # half of the truth's column and the legend, nothing in the prediction's column
    columns = np.flatnonzero(vivid.sum(0) > 30)
    assert 0.5 * picture.shape[1] <= columns.min() < columns.max() < 0.67 * picture.shape[1]


def test_too_many_highlighted_classes_are_named(tmp_path):
    names = [str(number) for number in range(9)]
    scene = (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), [])
    with pytest.raises(ValueError, match='9 highlighted classes'):
        draw_predictions(tmp_path / 'p.png', [scene], [], names, names)
