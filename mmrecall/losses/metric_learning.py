"""Losses of features, which a classification head adds to its loss of logits."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmrecall.functional.metric_learning import (
    check_features,
    check_range_options,
    lifted_structure_loss,
    range_loss,
)
from mmrecall.functional.statistics import full_precision
from mmrecall.functional.validation import check_finite, check_flag, check_number

from .distributed import announce_refused_images, gather_images, is_distributed


class FeatureLoss(nn.Module):
    """Base of the losses of features (N, D) and class numbers (N,), which compare the images of a batch.

    Across ranks, in training, features and labels are gathered, and every rank computes the loss of the global batch:
    with 32 images of 365 classes a rank alone hardly has two of one class. The gradients of the ranks are such that
    their average by DistributedDataParallel is that of one process with the whole batch. The ranks may have different
    numbers of images, or none, but all must call the loss.

    Args:
        loss_weight: factor of the whole loss.
        sync: compare the images of all ranks in training. If False, each rank compares its own.
    """

    def __init__(self, loss_weight: float = 1.0, sync: bool = True) -> None:
        super().__init__()
        check_finite('loss_weight', loss_weight)
        check_flag('sync', sync)
        self.loss_weight = loss_weight
        self.sync = sync

    def forward(self, features: Tensor, labels: Tensor, **options: Any) -> Tensor:
        """Compute the loss of a batch, a scalar; in training across ranks each computes that of the global batch."""
        if options:
            raise TypeError(
                f'got {", ".join(options)} in a call of {type(self).__name__}; expected features and labels; as it is '
                "no loss of logits, set head.type='mmrecall.FeatureLossClsHead' and head.feature_loss, not head.loss"
            )
        # validation does not wait for other ranks
        if not (self.training and torch.is_grad_enabled() and is_distributed(self.sync)):
            return self.loss_weight * self._loss(features, labels)
        loss = self._loss(*_gather(features, labels))
        # the value is that of all ranks, the gradient that of this rank's features times the number of ranks
        num_ranks = dist.get_world_size()
        return self.loss_weight * (num_ranks * loss - (num_ranks - 1) * loss.detach())

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError


def _gather(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    try:
        check_features(features, labels)
    except Exception:
        # whatever the error is, the other ranks must not wait
        announce_refused_images(features.device if isinstance(features, Tensor) else torch.device('cpu'))
        raise
    return gather_images(full_precision(features), labels)


class RangeLoss(FeatureLoss):
    """Range loss of Zhang et al., ICCV 2017; see `mmrecall.functional.range_loss`.

    The paper compares it with other losses on faces. Liu et al., "Large-scale long-tailed recognition in an open
    world", CVPR 2019, whose figures later papers copy, add it to a softmax on Places-LT. Their code takes the two
    largest distances of all classes together (not of each class), not squared, and the centres for the margin are
    parameters, whose initial values it does not give. The defaults of k, margin, alpha and beta are those of Liu et
    al.; those of the paper are not known to us, nor is the loss weight of either.

    Args:
        k: distances of every class.
        margin: squared distance that two class means should have.
        alpha: factor of the distances within classes.
        beta: factor of that between class means.
        loss_weight: factor of the whole loss.
        sync: see `FeatureLoss`.

    Shape:
        - features: (N, D), floating point; float16 and bfloat16 are computed in float32.
        - labels: (N,) integers.
        - output: a scalar.

    Raises:
        TypeError: an option of another type; in forward, features that are not floating point, labels that are not
            integers.
        ValueError: k below 1, a negative margin or factor; in forward, shapes that do not belong together. With
            ``sync`` all ranks raise together.

    Example:
        >>> RangeLoss(margin=2.0)(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([5, 8, 8]))
        tensor(4.)
    """

    def __init__(
        self,
        k: int = 2,
        margin: float = 5.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        loss_weight: float = 1.0,
        sync: bool = True,
    ) -> None:
        super().__init__(loss_weight, sync)
        check_range_options(k, margin, alpha, beta)
        self.k = k
        self.margin = margin
        self.alpha = alpha
        self.beta = beta

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return range_loss(features, labels, k=self.k, margin=self.margin, alpha=self.alpha, beta=self.beta)


class LiftedStructureLoss(FeatureLoss):
    """Lifted structure loss of Oh Song et al., CVPR 2016; see `mmrecall.functional.lifted_structure_loss`.

    Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019, whose figures later papers copy, add
    it to a softmax on Places-LT, in their code with the margin 5. The loss weight is not known to us.

    Args:
        margin: the paper's is 1.
        loss_weight: factor of the whole loss.
        sync: see `FeatureLoss`.

    Shape:
        - features: (N, D), floating point; float16 and bfloat16 are computed in float32.
        - labels: (N,) integers.
        - output: a scalar.

    Raises:
        TypeError: an option of another type; in forward, features that are not floating point, labels that are not
            integers.
        ValueError: a margin that is negative or not finite; in forward, shapes that do not belong together. With
            ``sync`` all ranks raise together.

    Example:
        >>> LiftedStructureLoss(margin=2.0)(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([5, 5, 8]))
        tensor(0.8623)
    """

    def __init__(self, margin: float = 1.0, loss_weight: float = 1.0, sync: bool = True) -> None:
        super().__init__(loss_weight, sync)
        check_number('margin', margin)
        self.margin = margin

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return lifted_structure_loss(features, labels, margin=self.margin)
