"""The types of the public interface from a user's side: `make lint` checks this file as strictly as the package."""

from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import mmrecall
from mmrecall import count_classes, functional

if TYPE_CHECKING:
    from mmrecall.datasets import CamVidDataset, PlacesLT, RareClassSampler, count_labels  # noqa: F401
    from mmrecall.engine import ClassCountsHook, ClassMeansLoop, ExactResumeHook  # noqa: F401
    from mmrecall.evaluation import RareClassIoU, ShotAccuracy  # noqa: F401
    from mmrecall.models.backbones import CifarResNet  # noqa: F401
    from mmrecall.models.classifiers import BBN  # noqa: F401
    from mmrecall.models.heads import SDNHead  # noqa: F401
    from mmrecall.registry import MODELS, register  # noqa: F401


def test_a_typed_training_uses_every_form_of_an_argument() -> None:
    data: TensorDataset = TensorDataset(torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 0, 0, 0]))
    counted = count_classes(data, num_classes=3, labels=1)
    assert count_classes(DataLoader(data), num_classes=3) == counted
    by_name: dict[str, float] = {'pole': 2.0}
    by_index: dict[int, float] = {2: 2.0}
    criteria: list[mmrecall.BaseLoss] = [
        mmrecall.RecallLoss(alpha=0.5, num_classes=3, class_weight=by_index),
        mmrecall.WeightedCrossEntropyLoss(by_name, classes=['road', 'car', 'pole']),
        mmrecall.WeightedCrossEntropyLoss('inverse_frequency', class_counts=counted, power=0.5),
        mmrecall.WeightedCrossEntropyLoss(torch.ones(3)),
        mmrecall.LDAMLoss(class_counts=[5, 2, 1], class_weight=(1, 1, 2)),
        mmrecall.BalancedSoftmaxLoss(torch.tensor([5, 2, 1])),
        mmrecall.LogitAdjustedLoss(numpy.array([5, 2, 1])),
        mmrecall.SoftmaxFocalLoss(alpha=[1, 1, 2]),
    ]
    model = torch.nn.Linear(3, 3)
    for images, labels in DataLoader(data, batch_size=4):
        logits: Tensor = model(images)
        losses: list[Tensor] = [criterion(logits, labels, ignore_index=255) for criterion in criteria]
        statistics, sums = functional.class_losses(logits, labels)
        recall = functional.recall_weights(statistics) * sums
        torch.autograd.backward([*losses, recall.sum(), functional.soft_dice_loss(logits, labels, smooth=1.0)])
    running = criteria[0].running_statistics()['recall']
    assert running.shape == (3,)
    assert model.weight.grad is not None
