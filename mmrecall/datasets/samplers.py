"""Samplers that change how often training draws the images of every class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmrecall.datasets.label_sources import image_labels
from mmrecall.registry import DATA_SAMPLERS, register

Array = np.ndarray

_PROGRESSIVE = 'progressively_balanced'
# the probability of a class with n images is proportional to n to this power
_POWERS = {'class_balanced': 0.0, 'square_root': 0.5, 'reversed': -1.0}
_STRATEGIES = (*_POWERS, _PROGRESSIVE)


def class_probabilities(counts: Sequence[int], strategy: str, progress: float = 0.0) -> Array:
    """Return the probability that an image of each class is drawn, (C,) float64; 0 for a class without images.

    With n_j images of class j, p_j is proportional to 1 (``'class_balanced'``), √n_j (``'square_root'``) or 1/n_j
    (``'reversed'``), or equals (1 - t) n_j / Σn + t / C (``'progressively_balanced'``, t the progress). Kang et al.,
    "Decoupling representation and classifier for long-tailed recognition", ICLR 2020; reversed: Zhou et al., "BBN",
    CVPR 2020.

    Args:
        counts: number of images of every class.
        strategy: one of the four above.
        progress: completed share of the training, 0 to 1, for ``'progressively_balanced'`` alone.

    Raises:
        ValueError: an unknown strategy, or no images in any class.

    Example:
        >>> class_probabilities([75, 25], 'reversed').tolist()
        [0.25, 0.75]
        >>> class_probabilities([75, 25], 'progressively_balanced', 0.5).tolist()
        [0.625, 0.375]
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    if not present.any():
        raise ValueError(f'got counts={counts.tolist()}; expected at least one image')
    if strategy == _PROGRESSIVE:
        balanced = class_probabilities(counts, 'class_balanced')
        return (1 - progress) * counts / counts.sum() + progress * balanced
    if strategy not in _POWERS:
        raise ValueError(f'got strategy={strategy!r}; expected one of {", ".join(map(repr, _STRATEGIES))}')
    weights = np.where(present, np.where(present, counts, 1) ** _POWERS[strategy], 0)
    return weights / weights.sum()


class ClassThenItemSampler(Sampler):
    """Base of the samplers with replacement that draw a class, then one of its items uniformly.

    The draws depend on the seed and the epoch alone, and every rank takes its part of one sequence.

    Args:
        held: numbers of the items of class 0, then of class 1, …
        sizes: number of items of every class, (C,) int64.
        length: number of draws in an epoch, of all ranks together.
        seed: seed, the same on all ranks; by default the ranks agree on a random one.
        round_up: whether every rank draws the same number of items.
        endless: whether the draws go on after an epoch.
    """

    def __init__(
        self, held: Array, sizes: Array, length: int, seed: int | None, round_up: bool = True, endless: bool = False
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.held = held
        self.sizes = sizes
        self.total_size = math.ceil(length / self.world_size) * self.world_size if round_up else length
        self.endless = endless

    def class_probabilities(self) -> Array:
        """Return the probability that each class is drawn in this epoch, (C,) float64."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch])
        while True:
            yield from self._draw(generator)[self.rank :: self.world_size].tolist()
            if not self.endless:
                return

    def __len__(self) -> int:
        """Return the number of draws of this rank in an epoch."""
        return math.ceil((self.total_size - self.rank) / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch, as mmengine does before each."""
        self.epoch = epoch

    def _draw(self, generator: np.random.Generator) -> Array:
        """Return the next ``total_size`` draws, the same on every rank."""
        limits = np.cumsum(self.class_probabilities())
        # one row of random numbers per draw, so that a longer sequence starts with the shorter one
        first, second = generator.random((self.total_size, 2)).T
        classes = np.searchsorted(limits, first * limits[-1], side='right')
        starts = np.cumsum(self.sizes) - self.sizes
        return self.held[starts[classes] + (second * self.sizes[classes]).astype(np.int64)]


@register(DATA_SAMPLERS)
class ClassProbabilitySampler(ClassThenItemSampler):
    """Sampler with replacement that draws a class by `class_probabilities`, then one of its images uniformly.

    An epoch has as many draws as the data set has items, rounded up like those of mmengine's `DefaultSampler`. The
    draws depend on the seed and the epoch alone, and every rank takes its part of one sequence, so a resumed training
    and one with another number of ranks see the same draws. The progressive strategy starts with the frequencies of the
    data in epoch 0 and is balanced from epoch T on. In a loop over iterations, an epoch is a pass of the loader.

    Args:
        dataset: a data set of mmpretrain, possibly in wrappers, with one ``gt_label`` per item.
        strategy: ``'class_balanced'``, ``'square_root'``, ``'progressively_balanced'`` or ``'reversed'``.
        num_epochs: number of epochs T of the training, for ``'progressively_balanced'`` alone.
        seed: seed, the same on all ranks; by default the ranks agree on a random one.
        round_up: whether every rank draws the same number of items.

    Raises:
        ValueError: an unknown strategy, ``num_epochs`` missing or superfluous, or items with no label or several.
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
                f'got strategy={strategy!r} with num_epochs={num_epochs}; expected num_epochs, the epochs of the '
                f'training, with {_PROGRESSIVE!r} and with no other strategy'
            )
        if num_epochs is not None and num_epochs < 1:
            raise ValueError(f'got num_epochs={num_epochs}; expected the epochs of the training, at least 1')
        labels = image_labels(dataset)
        counts = np.bincount(labels)
        class_probabilities(counts, strategy)  # raises for an unknown strategy
        self.strategy = strategy
        self.num_epochs = num_epochs
        super().__init__(np.argsort(labels, kind='stable'), counts, len(labels), seed, round_up)

    def class_probabilities(self) -> Array:
        """Return the probability of each class by the strategy, (C,) float64."""
        progress = min(self.epoch / self.num_epochs, 1.0) if self.num_epochs else 0.0
        return class_probabilities(self.sizes, self.strategy, progress)


@register(DATA_SAMPLERS)
class BilateralSampler(Sampler):
    """Sampler of the two branches of BBN: draws 0, 2, 4, … of an epoch are uniform, draws 1, 3, 5, … reversed.

    Zhou et al., "BBN", CVPR 2020, section 4.2. The uniform draws are those of mmengine's `DefaultSampler`, every item
    once per epoch; the reversed draws are those of `ClassProbabilitySampler`. An epoch is twice the data set, and an
    even ``batch_size`` holds equally many draws of both kinds. The draws depend on the seed and the epoch alone.

    Args:
        dataset: a data set of mmpretrain, possibly in wrappers, with one ``gt_label`` per item.
        seed: seed, the same on all ranks; by default the ranks agree on a random one.
        round_up: whether every rank draws the same number of items.

    Raises:
        ValueError: an empty data set, or items with no label or several.

    Example:
        >>> sampler = dict(type='mmrecall.BilateralSampler')
    """

    def __init__(self, dataset: Any, seed: int | None = None, round_up: bool = True) -> None:
        seed = sync_random_seed() if seed is None else seed
        self._reversed = ClassProbabilitySampler(dataset, 'reversed', seed=seed, round_up=round_up)
        self._uniform = DefaultSampler(dataset, shuffle=True, seed=seed, round_up=round_up)

    def __iter__(self) -> Iterator[int]:
        for pair in zip(self._uniform, self._reversed, strict=True):
            yield from pair

    def __len__(self) -> int:
        """Return the number of draws of this rank in an epoch."""
        return len(self._uniform) + len(self._reversed)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch, as mmengine does before each."""
        self._uniform.set_epoch(epoch)
        self._reversed.set_epoch(epoch)
