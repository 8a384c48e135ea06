import numpy as np
import pytest

from mmrecall.evaluation import class_scores, confusion_matrix


def test_scores_equal_mmsegs_metric():
    iou_metric = pytest.importorskip('mmseg.evaluation.metrics.iou_metric').IoUMetric
    torch = pytest.importorskip('torch')
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 50, 60)), rng.integers(0, 4, (2, 50, 60))
    truth[rng.random(truth.shape) < 0.1] = 255
    areas = [
        iou_metric.intersect_and_union(torch.tensor(p), torch.tensor(t), 4, 255)
        for p, t in zip(prediction, truth, strict=True)
    ]
    theirs = iou_metric.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)), metrics=['mIoU'])
    ours = class_scores(confusion_matrix(zip(truth, prediction, strict=True), 4))
    np.testing.assert_allclose(ours.iou, theirs['IoU'], rtol=1e-6)
    np.testing.assert_allclose(ours.accuracy, theirs['Acc'], rtol=1e-6)


def test_a_class_without_pixels_has_no_score():
    scores = class_scores(np.diag([3, 0]))
    assert np.isnan(scores.iou[1])
    assert np.isnan(scores.accuracy[1])
    assert scores.share.tolist() == [1, 0]


def test_another_shape_and_a_class_too_many_are_named():
    with pytest.raises(ValueError, match=r'\(2,\).*\(3,\)'):
        confusion_matrix([(np.zeros(2, int), np.zeros(3, int))], 2)
    with pytest.raises(ValueError, match='above 1'):
        confusion_matrix([(np.zeros(2, int), np.full(2, 5))], 2)
