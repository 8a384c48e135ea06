"""Loading whose randomness depends on the number of the batch, not on what was drawn before."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

# what a seed is for; part of it, so that no two purposes share one
STEP, _BATCH, _PASS = range(3)


def set_seed(*key: int) -> None:
    """Seed python, numpy and PyTorch from several numbers, at least 0 each; different numbers give unrelated seeds.

    Example:
        >>> set_seed(0, 1)
        >>> first = (random.random(), np.random.rand(), torch.rand(()).item())
        >>> set_seed(0, 1)
        >>> first == (random.random(), np.random.rand(), torch.rand(()).item())
        True
    """
    for_python, for_numpy, for_torch = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy)
    torch.manual_seed(for_torch)


class SeededIndices(list):
    """Indices of a batch, and what to seed with before its items are loaded."""

    def __init__(self, indices: Iterable[int], key: tuple[int, ...]) -> None:
        super().__init__(indices)
        self.key = key


class SeededItems:
    """Loads the items of a `SeededIndices`: a data set's ``__getitems__``, which loaders ask for a whole batch."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        # a data set's own way, if it has one
        self.load = getattr(dataset, '__getitems__', None)

    def __call__(self, indices: Sequence[int]) -> Sequence[Any]:
        """Seed, then load in turn."""
        # other loaders of the same data set send plain lists
        if isinstance(indices, SeededIndices):
            set_seed(*indices.key)
        return self.load(indices) if self.load else [self.dataset[index] for index in indices]


class SeededBatches:
    """The batches of a batch sampler as `SeededIndices`, from any batch on.

    Args:
        batch_sampler: whose order depends on its epoch and on PyTorch's random state alone.
        seed: of the run.
        rank: items are drawn anew on every rank, but samplers share one order among the ranks.
        endless: whether a pass follows upon the other, as training by iterations needs it; then ``set_epoch`` is
            called with the number of the pass.
        set_epoch: the sampler's.
    """

    def __init__(
        self, batch_sampler: Any, seed: int, rank: int, endless: bool, set_epoch: Callable[[int], None]
    ) -> None:
        self.batch_sampler = batch_sampler
        self.seed = seed
        self.rank = rank
        self.endless = endless
        self.set_epoch = set_epoch
        self.begin(0, 0, 0)

    def begin(self, number: int, epoch: int, skip: int) -> None:
        """Set where the next iteration begins: batch ``number`` of the training, the one after ``skip`` of a pass."""
        self.number, self.epoch, self.skip = number, epoch, skip

    def __iter__(self) -> Iterator[SeededIndices]:
        batches = itertools.islice(self._batches(), self.skip, None)
        for number, indices in enumerate(batches, self.number):
            yield SeededIndices(indices, (self.seed, self.rank, _BATCH, number))

    def __len__(self) -> int:
        """Batches of a pass."""
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        """What mmengine's hooks look for in a batch sampler: ``sampler``, ``batch_size``, …."""
        if name == 'batch_sampler':  # not there yet, when a copy is unpickled
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)

    def _batches(self) -> Iterator[Sequence[int]]:
        if not self.endless:
            yield from self._one_pass(self.epoch)
            return
        for epoch in itertools.count():
            self.set_epoch(epoch)
            batch = None
            for batch in self._one_pass(epoch):
                yield batch
            if batch is None:
                raise ValueError('the training loader has no batches; the data set is empty, or smaller than a batch')

    def _one_pass(self, epoch: int) -> Iterator[Sequence[int]]:
        # PyTorch's samplers draw the seed of a pass when it begins
        set_seed(self.seed, 0, _PASS, epoch)
        generator = getattr(getattr(self.batch_sampler, 'sampler', None), 'generator', None)
        if generator is not None:
            generator.manual_seed(torch.initial_seed())
        yield from self.batch_sampler


def seed_batches(loader: DataLoader, seed: int, rank: int, endless: bool) -> SeededBatches:
    """Make a loader seed every batch by its number, and give back what says where it begins.

    Then a batch is the same whichever were loaded before it, by however many workers. The loader must not be in use.

    Raises:
        ValueError: its data set is not one of items that have a number, or it makes no batches of them.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        raise ValueError(
            f'the loader of {type(loader.dataset).__name__} has no batches of numbered items (an iterable data set, or '
            'batch_size=None); it cannot begin in the middle'
        )
    batch_sampler = loader.batch_sampler
    if isinstance(batch_sampler, SeededBatches):  # of a training before, with the same loader
        batch_sampler = batch_sampler.batch_sampler
    batches = SeededBatches(batch_sampler, seed, rank, endless, _set_epoch_of(loader))
    _rewind(loader)
    # a loader refuses a new batch sampler, but reads it only when an iteration begins
    vars(loader)['batch_sampler'] = batches
    if not isinstance(getattr(loader.dataset, '__getitems__', None), SeededItems):
        loader.dataset.__getitems__ = SeededItems(loader.dataset)
    return batches


def _set_epoch_of(loader: DataLoader) -> Callable[[int], None]:
    """What mmengine calls before a pass."""
    for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
        if hasattr(sampler, 'set_epoch'):
            return sampler.set_epoch
    return lambda epoch: None


def _rewind(loader: DataLoader) -> None:
    """Forget what was loaded ahead: stock mmengine begins when its loop is built."""
    loader._iterator = None
    sampler = getattr(loader.batch_sampler, 'sampler', None)
    if hasattr(sampler, 'indices') and hasattr(sampler, '_indices_of_rank'):  # mmengine's InfiniteSampler
        sampler.indices = sampler._indices_of_rank()
