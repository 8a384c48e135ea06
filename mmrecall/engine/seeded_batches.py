"""Data loading with random numbers that depend on the number of the batch, not on earlier draws."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

# purposes of a seed; they are a part of its key, so that two purposes never share a seed
STEP, _BATCH, _PASS = range(3)


def set_seed(*key: int) -> None:
    """Seed Python, NumPy and PyTorch from several non-negative numbers; different numbers give unrelated seeds.

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
    """Indices of a batch together with the seed of its items."""

    def __init__(self, indices: Iterable[int], key: tuple[int, ...]) -> None:
        super().__init__(indices)
        self.key = key


class SeededItems:
    """Replacement for the ``__getitems__`` of a data set that seeds before it loads the items of a batch."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.load = getattr(dataset, '__getitems__', None)

    def __call__(self, indices: Sequence[int]) -> Sequence[Any]:
        """Return the items of a batch; other loaders of the same data set send plain lists, which set no seed."""
        if isinstance(indices, SeededIndices):
            set_seed(*indices.key)
        return self.load(indices) if self.load else [self.dataset[index] for index in indices]


class SeededBatches:
    """Batch sampler that yields the batches of another one as `SeededIndices` and can start at any batch.

    Args:
        batch_sampler: the other batch sampler; its order depends on its epoch and on PyTorch's random state alone.
        seed: seed of the run.
        rank: rank of the process; each rank has its own random numbers for the items, but the order is common to all.
        endless: whether passes follow one another without end, as in a training by iterations; ``set_epoch`` is then
            called with the number of each pass.
        set_epoch: method of the sampler.
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
        """Let the next iteration begin with batch ``number`` of the training, after ``skip`` batches of the pass."""
        self.number, self.epoch, self.skip = number, epoch, skip

    def __iter__(self) -> Iterator[SeededIndices]:
        batches = itertools.islice(self._batches(), self.skip, None)
        for number, indices in enumerate(batches, self.number):
            yield SeededIndices(indices, (self.seed, self.rank, _BATCH, number))

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the other batch sampler, such as ``sampler``, which mmengine's hooks read."""
        if name == 'batch_sampler':  # unpickling looks for attributes before it sets this one
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
    """Make a loader that is not in use seed every batch by its number, and return its new batch sampler.

    A batch is then the same whichever batches were loaded before it, and with any number of workers.

    Raises:
        ValueError: the data set is iterable, or the loader makes no batches.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        raise ValueError(
            f'the loader of {type(loader.dataset).__name__} has no batches of numbered items, so that it cannot begin '
            'in the middle; expected a data set that is not iterable, and a batch_size'
        )
    batch_sampler = loader.batch_sampler
    if isinstance(batch_sampler, SeededBatches):  # an earlier training used the same loader
        batch_sampler = batch_sampler.batch_sampler
    batches = SeededBatches(batch_sampler, seed, rank, endless, _set_epoch_of(loader))
    _rewind(loader)
    # a loader refuses a new batch sampler, but reads it only when an iteration begins
    vars(loader)['batch_sampler'] = batches
    if not isinstance(getattr(loader.dataset, '__getitems__', None), SeededItems):
        loader.dataset.__getitems__ = SeededItems(loader.dataset)
    return batches


def _set_epoch_of(loader: DataLoader) -> Callable[[int], None]:
    """Return the method that mmengine calls before a pass."""
    for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
        if hasattr(sampler, 'set_epoch'):
            return sampler.set_epoch
    return lambda epoch: None


def _rewind(loader: DataLoader) -> None:
    """Discard the batches that were loaded ahead; stock mmengine starts loading when it builds its loop."""
    loader._iterator = None
    sampler = getattr(loader.batch_sampler, 'sampler', None)
    if hasattr(sampler, 'indices') and hasattr(sampler, '_indices_of_rank'):  # mmengine's InfiniteSampler
        sampler.indices = sampler._indices_of_rank()
