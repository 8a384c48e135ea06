"""A killed and resumed training that is the one which was never killed."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmrecall.datasets.seeded_batches import STEP, SeededBatches, seed_batches, set_seed
from mmrecall.engine.runner import accumulated_steps
from mmrecall.registry import HOOKS, register

_KEY = 'exact_resume'


@register(HOOKS)
class ExactResumeHook(Hook):
    """Makes a resumed training bit-identical, on CPUs, to one that was never interrupted.

    mmengine saves no random state and, depending on its version, replays the data in another way after a resume. Here
    nothing need be saved, because all randomness is a function of the seed, the rank and a number: python, numpy and
    PyTorch are seeded from the number of the batch before it is loaded (in whichever worker) and from the number of the
    iteration before its step; a resumed loader begins at the right batch, also in the middle of an epoch, and loads
    none of those before. So a training does not depend on ``num_workers`` either. On GPUs the data and the random
    numbers are the same, and the rest as reproducible as PyTorch's kernels are there.

    A validation that belongs to the checkpoint, but came after it, is done again, with what depends on it, such as a
    plateau schedule. mmengine leaves it out.

    Resuming with another number of ranks, another batch size or another seed goes on, with a warning, as it does
    without this hook.

    Raises:
        ValueError: before training, if no seed is set, if checkpoints fall between two steps of an optimizer that
            accumulates gradients, or for a training loop or loader that is not known.

    Example:
        >>> default_hooks = dict(exact_resume=dict(type='mmrecall.ExactResumeHook'))
        >>> randomness = dict(seed=0)
    """

    # before hooks that draw random numbers
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._saved: dict[str, Any] | None = None
        self._batches: SeededBatches | None = None
        # after how many iterations
        self._validated = -1
        self._may_validate = False

    def before_run(self, runner: Runner) -> None:
        """Check that there is a seed, before a resume can bring one."""
        training = isinstance(runner._train_loop, BaseLoop)
        if training and runner._randomness_cfg.get('seed') is None:
            raise ValueError(
                'ExactResumeHook needs a seed that is the same after a resume; set randomness=dict(seed=0) in the '
                'config, or another number'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what a resumed run must have in common with this one."""
        validated = self._validated == checkpoint['meta']['iter']
        checkpoint[_KEY] = dict(_conditions(runner), validated=validated)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note that there was one."""
        self._validated = runner.iter

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read the note."""
        self._saved = checkpoint.get(_KEY)

    def before_train(self, runner: Runner) -> None:
        """Take over the loader."""
        loop = runner.train_loop
        if not isinstance(loop, (IterBasedTrainLoop, EpochBasedTrainLoop)):
            raise ValueError(
                f'ExactResumeHook knows the loops of mmengine, IterBasedTrainLoop and EpochBasedTrainLoop, but '
                f'train_cfg has a {type(loop).__name__}; leave the hook out'
            )
        if [type(hook) for hook in runner.hooks].count(type(self)) > 1:
            raise ValueError('ExactResumeHook is there twice, in default_hooks and custom_hooks; leave one out')
        _check_accumulation(runner)
        if runner.iter > 0:
            self._warn_of_differences(runner)
            self._may_validate = self._saved is not None and not self._saved.get('validated', True)
        endless = isinstance(loop, IterBasedTrainLoop)
        self._batches = seed_batches(loop.dataloader, runner.seed, runner.rank, endless)
        if endless:
            self._batches.begin(runner.iter, epoch=0, skip=runner.iter)
            # newer versions of mmengine ask the iterator to skip, older ones fetch and throw away
            fetched = 0 if hasattr(loop.dataloader_iterator, 'skip_iter') else runner.iter
            loop.dataloader_iterator = _ResumedIterator(loop.dataloader, fetched)

    def after_train(self, runner: Runner) -> None:
        """Validate, if nothing was left to train."""
        self._validate_if_due(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin an epoch, or go on in the middle of one."""
        self._validate_if_due(runner)
        if self._batches.endless:
            return
        skip = runner.iter - runner.epoch * len(self._batches)
        # all are skipped if the checkpoint was written before the end of the epoch had its effects
        if not 0 <= skip <= len(self._batches):  # the checkpoint is of a run with other batches
            skip = 0
        self._batches.begin(runner.iter, runner.epoch, skip)
        if skip:
            loop = runner.train_loop
            # what logs and hooks are told: the number of the batch in the epoch
            loop.run_iter = lambda index, batch: type(loop).run_iter(loop, index + skip, batch)

    def after_train_epoch(self, runner: Runner) -> None:
        """End an epoch that began in the middle."""
        vars(runner.train_loop).pop('run_iter', None)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed what the step draws: dropout, mixup."""
        set_seed(runner.seed, runner.rank, STEP, runner.iter)

    def _validate_if_due(self, runner: Runner) -> None:
        """Once after a resume: the validation that belongs to the checkpoint."""
        if not self._may_validate:
            return
        self._may_validate = False
        loop = runner.train_loop
        loop._decide_current_val_interval()
        now, end = (loop.iter, loop.max_iters) if self._batches.endless else (loop.epoch, loop.max_epochs)
        between_epochs = self._batches.endless or loop.iter == loop.epoch * len(self._batches)
        due = between_epochs and now >= loop.val_begin and (now % loop.val_interval == 0 or now == end)
        # of one mind, though the loaders of the ranks may differ by a batch
        box = [due]
        broadcast_object_list(box)
        if box[0] and runner.val_loop is not None:
            runner.val_loop.run()

    def _warn_of_differences(self, runner: Runner) -> None:
        if self._saved is None:
            differences = 'the checkpoint was written without ExactResumeHook'
        else:
            found = _conditions(runner).items()
            differences = ', '.join(f'{key} was {self._saved.get(key)}, is {value}' for key, value in found
                                    if self._saved.get(key) != value)  # fmt: skip
        if differences:
            print_log(
                f'The resumed training is not what an uninterrupted one would be: {differences}',
                logger='current',
                level=logging.WARNING,
            )


def _conditions(runner: Runner) -> dict[str, int]:
    return dict(seed=runner.seed, ranks=runner.world_size, batches_of_an_epoch=len(runner.train_dataloader))


def _check_accumulation(runner: Runner) -> None:
    """Gradients that wait for their step are not in a checkpoint."""
    counts = accumulated_steps(runner)
    for hook in runner.hooks:
        if counts == 1 or not isinstance(hook, CheckpointHook) or hook.interval < 1:
            continue
        iterations = hook.interval * (len(runner.train_dataloader) if hook.by_epoch else 1)
        if iterations % counts:
            raise ValueError(
                f'a checkpoint every {iterations} iterations falls between two steps of the optimizer '
                f'(accumulative_counts={counts}), whose gradients it does not hold; make the interval of the '
                f'{type(hook).__name__} a multiple of {counts} iterations, or leave ExactResumeHook out'
            )


class _ResumedIterator:
    """Batches for mmengine's loop by iterations; stands where that loop believes to have gone by itself."""

    def __init__(self, loader: DataLoader, fetched: int) -> None:
        self._loader = loader
        self._fetched = fetched
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._fetched:
            self._fetched -= 1
            return None
        if self._iterator is None:
            self._iterator = iter(self._loader)
        return next(self._iterator)

    def skip_iter(self, num_iters: int) -> None:
        """Nothing: the loader begins after them."""
