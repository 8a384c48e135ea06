import cv2
import numpy as np
import pytest

from mmrecall.analysis.predictions.picture import draw_predictions


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
