"""Checkpoints that a kill cannot spoil, and one more when a training is asked to end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from mmrecall.datasets.class_order import some_of
from mmrecall.engine.earlier_runs import no_longer_earlier, note_earlier
from mmrecall.engine.fitting_weights import check_fitting
from mmrecall.engine.folder_lock import lock_folder, unlock_folder
from mmrecall.engine.preemption import STOPPED, PreemptionSignal
from mmrecall.engine.resume import LAST_CHECKPOINT, checkpoint_to_resume, read_note
from mmrecall.engine.runner import between_steps, share_buffers, unwrap_model
from mmrecall.io import PARTIAL, atomic_write
from mmrecall.rank_zero import run_on_rank_zero
from mmrecall.registry import HOOKS, register


class AtomicBackend(LocalBackend):
    """Backend for files of this machine that replaces them atomically; ``backend_args=dict(backend='atomic')``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; the file holds all of them or is not there."""
        with atomic_write(filepath) as partial:
            partial.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; the file holds all of it or is not there."""
        self.put(obj.encode(encoding), filepath)


register_backend('atomic', AtomicBackend, force=True)


@register(HOOKS)
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook` with checkpoints that a kill at any moment leaves intact.

    A checkpoint is written beside its place and renamed when it is on the disk, and only then are older ones removed.
    (mmengine removes the old one first.) A resume loads the newest intact checkpoint, and warns of newer ones that are
    not; see `mmrecall.engine.resume.checkpoint_to_resume` for the part of ``load_from``. What is removed is in the log,
    and lies in the folder of the checkpoints, though a work directory may be the copy of another.

    On SIGUSR1 (Slurm: ``--signal``) to any rank, all finish their iteration, a checkpoint is written whatever the
    interval, and every rank ends with exit status 75 (EX_TEMPFAIL: call again). While gradients are accumulated that
    waits for the optimizer's step, and while a model is validated for the end of that.

    A new training in a work directory with checkpoints warns of them, and notes their names in the file
    ``earlier_checkpoints``: a later resume loads none of them, until the training has written its own by that name.

    At every checkpoint all ranks take over the buffers of rank 0, such as the statistics of a batch normalisation
    without SyncBN. These are in the checkpoint, so that a validation scores the model that was saved, and a resumed
    training validates as an uninterrupted one does.

    A training has the lock of its work directory; see `mmrecall.engine.folder_lock.lock_folder`.

    Args:
        **kwargs: arguments of mmengine's `CheckpointHook`.

    Raises:
        ValueError: before a resume, if the checkpoint that was asked for, or every one there is, is not intact.
        ValueError: before a training or a test, if no weight of its checkpoint is the model's; before a test or a
            resume, also if a layer's weights have another shape.
        RuntimeError: before a training, if another run uses the work directory.
        OSError: a checkpoint cannot be written; those before it are still there.
        SystemExit: after the signal.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='mmrecall.AtomicCheckpointHook', by_epoch=False, interval=1000))
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.backend_args is None and self.file_client_args is None and '://' not in str(self.out_dir or ''):
            self.backend_args = dict(backend='atomic')
        # The handler is installed here, before any worker is forked.
        self._stop = PreemptionSignal()
        self._last_step: int | str | None = None
        self._folder = ''
        self._folders: set[str] = set()

    def lock_folders(self, runner: Runner) -> None:
        """Take the locks of the folders that one training alone may write to; all ranks raise together.

        Raises:
            RuntimeError: another run has one.
        """

        def lock(still_working: Callable[[], None]) -> None:
            for folder in self._folders:
                lock_folder(folder)

        self._find_folders(runner)
        run_on_rank_zero(lock, f'taking the work directory {runner.work_dir}')

    def _find_folders(self, runner: Runner) -> None:
        # mmengine makes ``out_dir`` this folder, but later.
        name = os.path.basename(runner.work_dir.rstrip(os.sep))
        self._folder = runner.work_dir if self.out_dir is None else os.path.join(self.out_dir, name)
        self._folders = {folder for folder in (runner.work_dir, self._folder) if '://' not in folder}

    def before_run(self, runner: Runner) -> None:
        """Take the lock of the work directory for a training, and choose the checkpoint to resume from."""
        self._find_folders(runner)
        # A test has a configuration of the loop alone.
        if isinstance(runner._train_loop, BaseLoop):
            self.lock_folders(runner)

        def choose(still_working: Callable[[], None]) -> str | None:
            return checkpoint_to_resume(runner, self._folder, self.filename_tmpl, still_working)

        # Some runners have loaded one before this call.
        if runner._resume and not getattr(runner, '_has_loaded', False):
            runner._load_from = run_on_rank_zero(choose, f'choosing a checkpoint in {self._folder}')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that the weights are those of the model."""
        # The strategy of a FlexibleRunner may split the weights.
        if isinstance(runner, Runner):
            trains = isinstance(runner._train_loop, BaseLoop)
            name = str(runner._load_from or 'the checkpoint')
            check_fitting(unwrap_model(runner), checkpoint, name, same_model=runner._resume or not trains)

    def after_run(self, runner: Runner) -> None:
        """Give the lock of the work directory back."""
        if is_main_process():
            for folder in self._folders:
                unlock_folder(folder)

    def before_train(self, runner: Runner) -> None:
        """Remove the file that a killed run was writing."""
        kept = list(runner.message_hub.runtime_info.get('keep_ckpt_ids', []))
        super().before_train(runner)
        if self.max_keep_ckpts > 0:
            # mmengine has removed these, after a resume with a smaller number to keep.
            for step in kept[: -self.max_keep_ckpts]:
                path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
                runner.logger.info(f'Removed {path}, because max_keep_ckpts is {self.max_keep_ckpts}')
        if self.save_best:
            # The checkpoint may come from another work directory, whose best one is not this run's to remove.
            self._set_best_paths([self._here(path) for path in self._best_paths()])
        if is_main_process() and isinstance(self.file_backend, AtomicBackend):
            for folder in self._folders:
                for name in ('*.pth', LAST_CHECKPOINT):
                    for path in Path(folder).glob(f'{name}*{PARTIAL}'):
                        self._remove(runner, str(path))
        if not runner._resume and not runner.iter and '://' not in self._folder:
            run_on_rank_zero(lambda still_working: self._warn_of_earlier(runner), f'listing {self._folder}')

    def _warn_of_earlier(self, runner: Runner) -> None:
        last, _ = read_note(runner.work_dir)
        earlier = note_earlier(runner.work_dir, self._folder, last and os.path.basename(last))
        if earlier:
            runner.logger.warning(
                f'{self._folder} has checkpoints of an earlier training: {some_of(earlier)}. This one starts '
                'from scratch, replaces those of the same names and keeps the others, of which a resume loads none. '
                'To continue the earlier training, set --resume; otherwise remove them, or set another work_dir'
            )

    def _here(self, path: str | None) -> str | None:
        """Return the file of the same name in the folder of the checkpoints, or None if there is none."""
        here = path and self.file_backend.join_path(self.out_dir, os.path.basename(path))
        return here if here and self.file_backend.exists(here) else None

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save at the interval, or because of the signal."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if not self._stop.came_to_any_rank() or not between_steps(runner) or self.is_last_train_iter(runner):
            return
        epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if epochs and self.end_of_epoch(runner.train_dataloader, batch_idx):
            # The schedules of the epoch have still to move.
            return
        now = runner.iter + 1
        step = f'{runner.epoch}_iter_{now}' if self.by_epoch else now
        self._save_and_stop(runner, step, dict(epoch=runner.epoch, iter=now))

    def after_train_epoch(self, runner: Runner) -> None:
        """Save at the interval, or because of the signal."""
        super().after_train_epoch(runner)
        if not isinstance(runner.train_loop, EpochBasedTrainLoop) or self.is_last_train_epoch(runner):
            return
        if self._stop.came_to_any_rank() and between_steps(runner):
            step = runner.epoch + 1 if self.by_epoch else runner.iter
            self._save_and_stop(runner, step, dict(epoch=runner.epoch + 1, iter=runner.iter))

    def _save_and_stop(self, runner: Runner, step: int | str, meta: dict) -> None:
        if step != self._last_step:
            runner.logger.info(f'Saving checkpoint after {meta["iter"]} iterations')
            self._save_checkpoint_with_step(runner, step, meta)
        # A rank that ended before the checkpoint is written might have the launcher end them all.
        barrier()
        runner.logger.info(f'Stopped by SIGUSR1 after {meta["iter"]} iterations; resume to go on')
        # The logs are closed in it.
        runner.call_hook('after_run')
        raise SystemExit(STOPPED)

    def _save_checkpoint_with_step(self, runner: Runner, step: int | str, meta: dict) -> None:
        if isinstance(runner, Runner):
            # A resume gives all ranks what rank 0 saves.
            share_buffers(runner)
        outdated = None
        # A step comes twice if its checkpoint is saved again after a validation. The deque of steps drops the oldest.
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            outdated = self.keep_ckpt_ids[0] if len(self.keep_ckpt_ids) == self.max_keep_ckpts else None
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._last_step = step
        if not is_main_process():
            return
        no_longer_earlier(runner.work_dir, name)
        with atomic_write(Path(runner.work_dir, LAST_CHECKPOINT)) as partial:
            # whatever the encoding of the locale
            partial.write_bytes(os.fsencode(self.last_ckpt))
        if outdated is not None:
            self._remove(runner, self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated)))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and then remove the one that was best before."""
        if not self.save_best:
            return
        before = self._best_paths()
        # mmengine removes, before it writes, the paths that it knows.
        self._set_best_paths([None] * len(before))
        super()._save_best_checkpoint(runner, metrics)
        now = self._best_paths()
        self._set_best_paths([new or old for new, old in zip(now, before, strict=True)])
        if is_main_process():
            for new, old in zip(now, before, strict=True):
                if new:
                    no_longer_earlier(runner.work_dir, os.path.basename(new))
                if new and old and new != old:
                    self._remove(runner, old)

    def _best_paths(self) -> list[str | None]:
        """Return the path of the best checkpoint by each metric."""
        return [self.best_ckpt_path] if len(self.key_indicators) == 1 else list(self.best_ckpt_path_dict.values())

    def _set_best_paths(self, paths: list[str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = paths
        else:
            self.best_ckpt_path_dict.update(zip(self.best_ckpt_path_dict, paths, strict=True))

    def _remove(self, runner: Runner, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        # Sharded checkpoints are folders.
        elif self.file_backend.isdir(path):
            self.file_backend.rmtree(path)
        else:
            return
        runner.logger.info(f'Removed {path}')
