"""Samplers that decide how often training meets every class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmrecall.datasets.label_lists import image_labels
from mmrecall.registry import DATA_SAMPLERS, register

Array = np.ndarray

_PROGRESSIVE = 'progressively_balanced'
# probability of a class with n images: proportional to n to this power
_POWERS = {'class_balanced': 0.0, 'square_root': 0.5, 'reversed': -1.0}
STRATEGIES = (*_POWERS, _PROGRESSIVE)


def class_probabilities(counts: Sequence[int], strategy: str, progress: float = 0.0) -> Array:
    """Probability that an image of a class is drawn, (C,) float64; 0 for a class without images.

    With n_j images of class j, p_j is proportional to 1 (``'class_balanced'``), √n_j (``'square_root'``) or 1/n_j
    (``'reversed'``), or is (1 - t) n_j / Σn + t / C (``'progressively_balanced'``, t the progress). Kang et al.,
    "Decoupling representation and classifier for long-tailed recognition", ICLR 2020; reversed: Zhou et al., "BBN",
    CVPR 2020.

    Args:
        counts: number of images of every class.
        strategy: one of the four above.
        progress: share of the training that is over, 0 to 1; the progressive strategy uses it.

    Raises:
        ValueError: unknown strategy, or no images at all.

    Example:
        >>> class_probabilities([75, 25], 'reversed').tolist()
        [0.25, 0.75]
        >>> class_probabilities([75, 25], 'progressively_balanced', 0.5).tolist()
        [0.625, 0.375]
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    if not present.any():
        raise ValueError(f'counts are {counts.tolist()}; there is nothing to draw from')
    if strategy == _PROGRESSIVE:
        balanced = class_probabilities(counts, 'class_balanced')
        return (1 - progress) * counts / counts.sum() + progress * balanced
    if strategy not in _POWERS:
        raise ValueError(f'strategy is {strategy!r}; it must be one of {", ".join(map(repr, STRATEGIES))}')
    weights = np.where(present, np.where(present, counts, 1) ** _POWERS[strategy], 0)
    return weights / weights.sum()


@register(DATA_SAMPLERS)
class ClassProbabilitySampler(Sampler):
    """Draws images with replacement: first a class by `class_probabilities`, then one of its images uniformly.

    An epoch has as many draws as the data set has items, rounded up like those of mmengine's `DefaultSampler`. They
    depend on seed and epoch alone, and every rank takes its part of the one sequence, so a resumed training and one
    on other ranks see the same draws. The progressive strategy begins with the data's own probabilities in epoch 0 and
    is balanced from epoch T on; where a loop counts iterations, an epoch is a pass of the loader.

    Args:
        dataset: of mmpretrain, wrappers included: ``get_data_info`` gives one ``gt_label`` for each item.
        strategy: ``'class_balanced'``, ``'square_root'``, ``'progressively_balanced'`` or ``'reversed'``.
        num_epochs: T, the epochs of the training; for the progressive strategy only.
        seed: the same on all ranks; by default one that the ranks agree on.
        round_up: every rank draws the same number.

    Raises:
        ValueError: unknown strategy; ``num_epochs`` missing or needless; items without a label, or with several.
    """

    def __init__(
        self,
        dataset: Any,
        strategy: str,
        num_epochs: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        if (strategy == _PROGRESSIVE) != (num_epochs is not None):
            raise ValueError(
                f'strategy is {strategy!r} and num_epochs {num_epochs}; {_PROGRESSIVE!r} needs the number of epochs of '
                'the training, no other strategy takes it'
            )
        if num_epochs is not None and num_epochs < 1:
            raise ValueError(f'num_epochs is {num_epochs}; give the number of epochs of the training')
        self.strategy = strategy
        self.num_epochs = num_epochs
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        labels = image_labels(dataset)
        self.counts = np.bincount(labels)
        class_probabilities(self.counts, strategy)
        # images of class 0, then those of class 1, …
        self.by_class = np.argsort(labels, kind='stable')
        size = len(labels)
        self.total_size = math.ceil(size / self.world_size) * self.world_size if round_up else size

    def __iter__(self) -> Iterator[int]:
        return iter(self._draw()[self.rank :: self.world_size].tolist())

    def __len__(self) -> int:
        """Draws of this rank in an epoch."""
        return math.ceil((self.total_size - self.rank) / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Mmengine calls this before every epoch."""
        self.epoch = epoch

    def _draw(self) -> Array:
        """Indices of the whole epoch, the same on every rank."""
        progress = min(self.epoch / self.num_epochs, 1.0) if self.num_epochs else 0.0
        limits = np.cumsum(class_probabilities(self.counts, self.strategy, progress))
        # a row per draw, so that a longer sequence begins with the shorter one
        first, second = np.random.default_rng([self.seed, self.epoch]).random((self.total_size, 2)).T
        classes = np.searchsorted(limits, first * limits[-1], side='right')
        starts = np.cumsum(self.counts) - self.counts
        return self.by_class[starts[classes] + (second * self.counts[classes]).astype(np.int64)]
