import numpy as np
import pytest

from mmrecall.analysis.predictions.disagreement import ComparedImage, Outcome, zoom_window


def random_maps(predictions=3, num_classes=5, size=(30, 42)):
    """Truth with unlabelled pixels and predictions that are partly right."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, num_classes, size)
    wrong = rng.integers(0, num_classes, (predictions, *size))
    found = [np.where(rng.random(size) < 0.7, truth, other) for other in wrong]
    truth[rng.random(size) < 0.2] = 255
    return truth, tuple(np.where(one == 255, 0, one) for one in found)


def compared(truth, predictions, num_classes=5, ignore_index=255):
    return ComparedImage('a', 'a.png', truth, predictions, num_classes, ignore_index)


def test_outcomes_equal_a_loop_over_the_pixels():
    truth, (prediction, *_) = random_maps()
    for number in range(5):
        found = compared(truth, (prediction,)).outcomes(prediction, number)
        for place in np.ndindex(truth.shape):
            if truth[place] == 255:
                expected = Outcome.IGNORED
            elif truth[place] == number:
                expected = Outcome.FOUND if prediction[place] == number else Outcome.MISSED
            else:
                expected = Outcome.WRONG if prediction[place] == number else Outcome.OTHER
            assert found[place] == expected


def test_outcomes_add_up_to_the_scores():
    truth, predictions = random_maps()
    image = compared(truth, predictions)
    for prediction, scores in zip(predictions, image.scores, strict=True):
        for number in range(5):
            counts = np.bincount(image.outcomes(prediction, number).ravel(), minlength=5)
            _, found, missed, wrong, ignored = counts
            assert scores.accuracy[number] == found / (found + missed)
            assert scores.iou[number] == found / (found + missed + wrong)
            assert ignored == (truth == 255).sum()


@pytest.mark.parametrize('size', [(30, 42), (31, 43), (3, 5), (1, 1), (2, 50)])
@pytest.mark.parametrize('share', [0.02, 0.5])
def test_the_window_is_the_first_of_those_with_the_most_marked_pixels(size, share):
    differs = np.random.default_rng(1).random(size) < share
    window = zoom_window(differs)
    assert (window.height, window.width) == tuple(max(1, round(side / 3)) for side in size)
    numbers = {
        (top, left): differs[top : top + window.height, left : left + window.width].sum()
        for top in range(size[0] - window.height + 1)
        for left in range(size[1] - window.width + 1)
    }
    most = max(numbers.values())
    assert (window.top, window.left) == min(place for place, number in numbers.items() if number == most)
    assert window.cut(differs).sum() == most


def test_disagreement_is_the_share_of_labelled_pixels_with_different_predictions():
    truth, predictions = random_maps()
    places = [place for place in np.ndindex(truth.shape) if truth[place] != 255]
    different = [place for place in places if len({one[place] for one in predictions}) > 1]
    image = compared(truth, predictions)
    assert image.disagreement == len(different) / len(places)
    assert sorted(zip(*np.nonzero(image.differs), strict=True)) == different


def test_what_is_predicted_for_unlabelled_pixels_changes_nothing():
    truth, predictions = random_maps()
    others = tuple(np.where(truth == 255, number, one) for number, one in enumerate(predictions))
    before, after = compared(truth, predictions), compared(truth, others)
    np.testing.assert_array_equal(before.differs, after.differs)
    np.testing.assert_array_equal([score.iou for score in before.scores], [score.iou for score in after.scores])
    for one, other in zip(predictions, others, strict=True):
        np.testing.assert_array_equal(before.outcomes(one, 2), after.outcomes(other, 2))
    assert before.window == after.window


def test_an_image_without_labels_has_no_disagreement_and_no_scores():
    truth, predictions = random_maps()
    image = compared(np.full_like(truth, 255), predictions)
    assert image.disagreement == 0
    assert np.isnan(image.scores[0].mean_iou)
    assert np.isnan(image.scores[0].mean_accuracy)
    assert image.most_different_classes(2) == []


def test_another_ignored_class_is_ignored_as_well():
    truth, predictions = random_maps()
    as_seven = compared(np.where(truth == 255, 7, truth), predictions, ignore_index=7)
    assert as_seven.disagreement == compared(truth, predictions).disagreement


def test_the_classes_of_the_most_different_iou_come_first_and_absent_ones_never():
    truth = np.repeat([[0, 1, 2]], 10, 0)
    good, bad = truth.copy(), truth.copy()
    bad[:5, 2] = 3
    bad[:2, 1] = 3
    assert compared(truth, (good, bad)).most_different_classes(5) == [2, 1, 0]
    assert compared(truth, (good, bad)).most_different_classes(1) == [2]
