"""Resumed trainings that end with the weights of an uninterrupted one."""

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmrecall.engine.early_stopping import early_stopping_states, restore_early_stopping
from mmrecall.engine.fitting_weights import check_fitting
from mmrecall.engine.runner import unwrap_model
from mmrecall.engine.seeded_batches import STEP, SeededBatches, seed_batches, set_seed
from mmrecall.engine.training_conditions import changed_conditions, check_exact, sampler_of, training_conditions
from mmrecall.engine.training_items import check_same_items
from mmrecall.registry import HOOKS, register

_KEY = 'exact_resume'


@register(HOOKS)
class ExactResumeHook(Hook):
    """Hook that makes a resumed training bit-identical, on CPUs, to one that was never interrupted.

    mmengine saves no random state and, depending on its version, replays the data in another way after a resume. With
    this hook nothing has to be saved, because all randomness is a function of the seed, the rank and a number: python,
    numpy and PyTorch are seeded from the number of the batch before it is loaded (in whichever worker) and from the
    number of the iteration before its step; a resumed loader begins at the right batch, also in the middle of an epoch,
    and loads none of those before. So a training does not depend on ``num_workers`` either. On GPUs the data and the
    random numbers are the same; the results are as reproducible as PyTorch's kernels.

    A validation that belongs to the checkpoint, but came after it, is done again, and a schedule that depends on it
    moves. mmengine leaves it out. The patience of an `EarlyStoppingHook` is kept.

    A resume with other ranks, batches, data, accumulation, optimizer, schedule, loss or seed goes on, with a warning.

    Raises:
        ValueError: before training, if no seed is set, if the checkpoint to resume from has no state of the optimizer
            (those of ``save_best`` have none), if checkpoints fall between two steps of an optimizer that accumulates
            gradients, if the ranks have different lists of items, or for a training loop, loader or hook that cannot be
            resumed exactly.

    Example:
        >>> default_hooks = dict(exact_resume=dict(type='mmrecall.ExactResumeHook'))
        >>> randomness = dict(seed=0)
    """

    # The hook runs before others that draw random numbers.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._saved: dict[str, Any] | None = None
        self._batches: SeededBatches | None = None
        # the number of iterations before the last validation
        self._validated = -1
        self._may_validate = False
        # the conditions of this training, and what `EarlyStoppingHook` knew before the last validation
        self._conditions: dict[str, Any] = {}
        self._patience: list[dict[str, Any]] = []
        self._begin_of_epoch = 0

    def before_run(self, runner: Runner) -> None:
        """Check that the config has a seed, before a resume can bring one."""
        training = isinstance(runner._train_loop, BaseLoop)
        if training and runner._randomness_cfg.get('seed') is None:
            raise ValueError(
                'ExactResumeHook needs a seed that is the same after a resume; set randomness=dict(seed=0) in the '
                'config, or another number'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the conditions that a resumed run must share with this one."""
        validated = self._validated == checkpoint['meta']['iter']
        # Of the hooks that see a validation, some come before the one that saves the best checkpoint.
        patience = self._patience if validated else early_stopping_states(runner)
        checkpoint[_KEY] = dict(self._conditions, validated=validated, early_stopping=patience)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remember the iteration of the validation, before other hooks see it."""
        self._validated = runner.iter
        self._patience = early_stopping_states(runner, metrics)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read the conditions of the run that wrote the checkpoint."""
        self._saved = checkpoint.get(_KEY)
        # A FlexibleRunner leaves the optimizer to its strategy, which may keep it in another file.
        if not isinstance(runner, Runner) or not runner._resume:
            return
        name = runner._load_from or 'the last checkpoint'
        # EMAHook, which comes later, fails with an error that does not name the model.
        check_fitting(unwrap_model(runner), checkpoint, name, same_model=True)
        if 'optimizer' not in checkpoint:
            raise ValueError(
                f'{name} has no state of the optimizer and the schedules, which '
                'would start again (checkpoints of save_best and of save_optimizer=False have none). Resume from a '
                'checkpoint of the interval (--resume without a file takes the newest), set load_from without resume '
                'to fine-tune its weights, or leave ExactResumeHook out'
            )

    def before_train(self, runner: Runner) -> None:
        """Seed the batches of the loader, and let it begin at the right one."""
        loop = runner.train_loop
        if not isinstance(loop, (IterBasedTrainLoop, EpochBasedTrainLoop)):
            raise ValueError(
                f"got train_cfg with a {type(loop).__name__}; expected mmengine's IterBasedTrainLoop or "
                'EpochBasedTrainLoop, the loops that ExactResumeHook supports; leave the hook out'
            )
        if [type(hook) for hook in runner.hooks].count(type(self)) > 1:
            raise ValueError('ExactResumeHook is there twice; keep one of them, in default_hooks or custom_hooks')
        endless = isinstance(loop, IterBasedTrainLoop)
        self._batches = seed_batches(loop.dataloader, runner.seed, runner.rank, endless)
        check_exact(runner)
        self._conditions = training_conditions(runner)
        check_same_items(runner, sampler_of(runner), self._conditions['checksum_of_the_list_of_items'])
        if runner.iter > 0:
            self._warn_of_differences(runner)
            saved = self._saved or dict(validated=True)
            restore_early_stopping(runner, saved.get('early_stopping', ()))
            self._may_validate = not saved.get('validated', True)
            # after this call of the other hooks
            runner.register_hook(_AtLast(self._validate_if_due))
        if endless:
            self._batches.begin(runner.iter, epoch=0, skip=runner.iter)
            # Newer versions of mmengine ask the iterator to skip batches; older ones fetch them and throw them away.
            fetched = 0 if hasattr(loop.dataloader_iterator, 'skip_iter') else runner.iter
            loop.dataloader_iterator = _ResumedIterator(loop.dataloader, fetched)

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin an epoch at its first batch, or in the middle."""
        if self._batches.endless:
            return
        skip = runner.iter - runner.epoch * len(self._batches)
        # All batches are skipped if the checkpoint was written after the last batch of an epoch, but before the epoch
        # was counted. A number outside the range comes from a checkpoint of a run with other batches.
        if not 0 <= skip <= len(self._batches):
            skip = 0
        self._batches.begin(runner.iter, runner.epoch, skip)
        self._begin_of_epoch = runner.iter - skip
        if skip:
            loop = runner.train_loop
            # Logs and hooks get the number of the batch in the epoch.
            loop.run_iter = lambda index, batch: type(loop).run_iter(loop, index + skip, batch)

    def after_train_epoch(self, runner: Runner) -> None:
        """Number batches from 0 again, and let the loader begin the epoch anew, because other hooks may iterate now."""
        vars(runner.train_loop).pop('run_iter', None)
        if not self._batches.endless:
            self._batches.begin(self._begin_of_epoch, runner.epoch, skip=0)
            set_seed(runner.seed, runner.rank, STEP, runner.iter)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the random numbers of the step: dropout, mixup."""
        set_seed(runner.seed, runner.rank, STEP, runner.iter)

    def _validate_if_due(self, runner: Runner) -> None:
        """Do, once after a resume, the validation that belongs to the checkpoint."""
        if not self._may_validate:
            return
        self._may_validate = False
        loop = runner.train_loop
        loop._decide_current_val_interval()
        now, end = (loop.iter, loop.max_iters) if self._batches.endless else (loop.epoch, loop.max_epochs)
        between_epochs = self._batches.endless or loop.iter == loop.epoch * len(self._batches)
        due = between_epochs and now >= loop.val_begin and (now % loop.val_interval == 0 or now == end)
        # The ranks decide together, though their loaders may differ by a batch.
        box = [due]
        broadcast_object_list(box)
        if box[0] and runner.val_loop is not None:
            runner.val_loop.run()

    def _warn_of_differences(self, runner: Runner) -> None:
        if self._saved is None:
            differences = ['the checkpoint was written without ExactResumeHook']
        else:
            differences = [changed_conditions(self._saved, self._conditions)]
            if len(self._saved.get('early_stopping', ())) != len(early_stopping_states(runner)):
                differences.insert(0, 'the checkpoint lacks the patience of EarlyStoppingHook')
        if any(differences):
            text = ', '.join(filter(None, differences))
            runner.logger.warning(f'The resumed training is not what an uninterrupted one would be: {text}')


class _AtLast(Hook):
    """Hook that calls a function after all others, when a training begins."""

    priority = 'LOWEST'

    def __init__(self, function: Callable[[Runner], None]) -> None:
        self._function = function

    def before_train(self, runner: Runner) -> None:
        """Call the function."""
        self._function(runner)


class _ResumedIterator:
    """Iterator for mmengine's loop by iterations, which begins at the batch to which that loop wants to skip."""

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
        """Do nothing, because the loader begins after these batches."""
