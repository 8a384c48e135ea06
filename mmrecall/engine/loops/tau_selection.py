"""The best τ of several in one pass."""

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmrecall.engine.feature_pass import labelled_features
from mmrecall.engine.loops.one_pass import OnePassLoop
from mmrecall.functional.validation import check_number
from mmrecall.models.heads import TauNormHead
from mmrecall.registry import LOOPS, register

# the paper's range; the authors' code goes on to 2
_TAUS = tuple(step / 10 for step in range(11))


@register(LOOPS)
class TauSelectionLoop(OnePassLoop):
    """Tries several τ of a `TauNormHead` in one pass over its loader, and keeps the best.

    The best has the largest mean of the classes' accuracies; of equal ones it is the smallest. The loader is to hold
    validation images: not the test set, which the choice would spoil, and not what the first stage was trained on.

    Args:
        runner: of mmengine, whose model is a `SecondStageClassifier`.
        dataloader: of the validation set, every image once.
        taus: what is tried, at least 0 each; by default 0, 0.1, …, 1.

    Raises:
        ValueError: another head, a sampler that repeats or leaves out images, no τ, one below 0, or a head that has its
            own.

    Example:
        >>> train_cfg = dict(type='mmrecall.TauSelectionLoop', taus=[0.0, 0.5, 1.0])
    """

    head_type = TauNormHead

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, taus: Sequence[float] = _TAUS) -> None:
        super().__init__(runner, dataloader)
        if self.model.head.given_tau is not None:
            raise ValueError(f'the head has tau={self.model.head.given_tau}; leave it out to have one chosen')
        if not taus:
            raise ValueError('taus is empty; give at least one')
        for tau in taus:
            check_number('taus', tau)
        self.taus = sorted(taus)

    def learn(self) -> None:
        """Count what every τ gets right, and choose."""
        head = self.model.head
        right = torch.zeros(len(self.taus), head.num_classes, dtype=torch.long, device=head.tau.device)
        images = torch.zeros_like(right[0])
        for features, labels in labelled_features(self.model, self.dataloader, 'tau'):
            hits = head.logits((features,), self.taus).argmax(2) == labels
            right.index_add_(1, labels, hits.long())
            images.index_add_(0, labels, torch.ones_like(labels))
        all_reduce(right)
        all_reduce(images)
        accuracies = self._mean_accuracies(right, images)
        best = max(range(len(self.taus)), key=accuracies.__getitem__)
        head.tau.fill_(self.taus[best])
        table = ', '.join(f'{tau:g}: {value:.2f}' for tau, value in zip(self.taus, accuracies, strict=True))
        self.runner.logger.info(f'Mean class accuracy (%) by tau on {int(images.sum())} images: {table}')
        self.runner.logger.info(f'Chosen: tau = {self.taus[best]:g}')

    def _mean_accuracies(self, right: Tensor, images: Tensor) -> list[float]:
        """In percent, over the classes that have images."""
        there = images > 0
        return (100 * right[:, there].double() / images[there]).mean(1).tolist()
