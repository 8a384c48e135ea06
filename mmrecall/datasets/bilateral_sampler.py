"""The sampler of a network with two branches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dataset import DefaultSampler
from mmengine.dist import sync_random_seed
from torch.utils.data import Sampler

from mmrecall.datasets.samplers import ClassProbabilitySampler
from mmrecall.registry import DATA_SAMPLERS, register


@register(DATA_SAMPLERS)
class BilateralSampler(Sampler):
    """Uniform and reversed sampling in turn: items 0, 2, 4, … of an epoch are uniform, 1, 3, 5, … reversed.

    What BBN trains with (Zhou et al., CVPR 2020, section 4.2). Uniform: every item once an epoch, shuffled, as by
    mmengine's `DefaultSampler`. Reversed: `ClassProbabilitySampler`, a class with a probability proportional to 1/n_j,
    then one of its items uniformly. An epoch is twice the data set, and an even ``batch_size`` holds as many of the one
    as of the other. What is drawn depends on seed and epoch alone; every rank takes its part of both.

    Args:
        dataset: of mmpretrain, wrappers included: ``get_data_info`` gives one ``gt_label`` for each item.
        seed: the same on all ranks; by default one that the ranks agree on.
        round_up: every rank draws the same number.

    Raises:
        ValueError: an empty data set; items without a label, or with several.

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
        """Draws of this rank in an epoch."""
        return len(self._uniform) + len(self._reversed)

    def set_epoch(self, epoch: int) -> None:
        """Mmengine calls this before every epoch."""
        self._uniform.set_epoch(epoch)
        self._reversed.set_epoch(epoch)
