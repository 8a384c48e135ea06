"""Checkpoints that a kill cannot spoil, and one more when the time is over."""

import logging
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner, find_latest_checkpoint

from mmrecall.engine.hooks.rank_zero import run_on_rank_zero
from mmrecall.engine.intact_checkpoints import check_intact, newest_intact
from mmrecall.engine.preemption import STOPPED, PreemptionSignal
from mmrecall.engine.runner import between_steps
from mmrecall.io import PARTIAL, atomic_write
from mmrecall.registry import HOOKS, register

_LAST = 'last_checkpoint'


class AtomicBackend(LocalBackend):
    """Files of this machine, written beside and renamed; ``backend_args=dict(backend='atomic')``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; the file is complete or not there."""
        with atomic_write(filepath) as partial:
            partial.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; the file is complete or not there."""
        self.put(obj.encode(encoding), filepath)


register_backend('atomic', AtomicBackend, force=True)


@register(HOOKS)
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook`, of which a kill at any moment leaves an intact checkpoint.

    A checkpoint is written beside its place and renamed when it is on the disk, and only then are older ones removed.
    (mmengine removes the old one first.) A resume takes the newest that is intact, and names those that are not; with a
    ``load_from`` inside the work directory that one, and with another (what the training began with) only while there
    is none.

    On SIGUSR1 (Slurm: ``--signal``) to any rank, all finish their iteration, a checkpoint is written whatever the
    interval, and every rank ends with exit status 75 (EX_TEMPFAIL: call again). While gradients are accumulated that
    waits for the optimizer's step, and while a model is validated for the end of that.

    Args:
        **kwargs: those of mmengine's `CheckpointHook`.

    Raises:
        ValueError: before a resume, if the checkpoint that was asked for, or every one there is, is not intact.
        OSError: a checkpoint cannot be written; those before it are still there.
        SystemExit: after the signal.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='mmrecall.AtomicCheckpointHook', by_epoch=False, interval=1000))
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.backend_args is None and self.file_client_args is None and '://' not in str(self.out_dir or ''):
            self.backend_args = dict(backend='atomic')
        # now, before any worker is forked
        self._stop = PreemptionSignal()
        self._last_step: int | str | None = None

    def before_run(self, runner: Runner) -> None:
        """Choose what to resume from."""
        # some runners have loaded by now
        if not runner._resume or getattr(runner, '_has_loaded', False):
            return
        runner._load_from = run_on_rank_zero(
            lambda still_working: self._to_resume_from(runner), 'looking for a checkpoint to resume from'
        )

    def _to_resume_from(self, runner: Runner) -> str | None:
        given = runner._load_from
        last = find_latest_checkpoint(runner.work_dir)
        if given and (last is None or Path(runner.work_dir).resolve() in Path(given).resolve().parents):
            if '://' not in given:
                check_intact(given)
            return given
        if last is None or '://' in last:
            return given or last
        path = self._newest(runner, last)
        if given:
            # mmseg's train tool leaves it in the config; a requeued run would begin with it again and again
            print_log(
                f'Resuming from {path}; load_from={given} is what the run began with',
                logger='current',
                level=logging.WARNING,
            )
        return path

    def _newest(self, runner: Runner, last: str) -> str:
        folder = Path(last).parent if last else Path(runner.work_dir)
        path, broken = newest_intact(folder, last or None, self.filename_tmpl)
        if not last:
            broken = [f'the file {_LAST} is empty', *broken]
        for reason in broken:
            print_log(f'{reason}; resuming from {path} instead', logger='current', level=logging.WARNING)
        return str(path)

    def before_train(self, runner: Runner) -> None:
        """Clear away what a killed run was writing."""
        super().before_train(runner)
        if is_main_process() and isinstance(self.file_backend, AtomicBackend):
            for path in Path(self.out_dir).glob(f'*.pth{PARTIAL}'):
                path.unlink()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save at the interval, or because the time is over."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if not self._stop.came_to_any_rank() or not between_steps(runner) or self.is_last_train_iter(runner):
            return
        epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if epochs and self.end_of_epoch(runner.train_dataloader, batch_idx):
            # the schedules of the epoch have still to move
            return
        now = runner.iter + 1
        step = f'{runner.epoch}_iter_{now}' if self.by_epoch else now
        self._save_and_stop(runner, step, dict(epoch=runner.epoch, iter=now))

    def after_train_epoch(self, runner: Runner) -> None:
        """Save at the interval, or because the time is over."""
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
        # a rank that ended before the checkpoint is written might have the launcher end them all
        barrier()
        print_log(f'Stopped by SIGUSR1 after {meta["iter"]} iterations; resume to go on', logger='current')
        # logs are closed here
        runner.call_hook('after_run')
        raise SystemExit(STOPPED)

    def _save_checkpoint_with_step(self, runner: Runner, step: int | str, meta: dict) -> None:
        outdated = self._keep(runner, step)
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
        with atomic_write(Path(runner.work_dir, _LAST)) as partial:
            partial.write_text(str(self.last_ckpt))
        for old in outdated:
            self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)))

    def _keep(self, runner: Runner, step: int | str) -> list[int | str]:
        """Add a step to those whose checkpoints are kept; which need not be kept any more."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        outdated = [self.keep_ckpt_ids[0]] if len(self.keep_ckpt_ids) == self.max_keep_ckpts else []
        # of a length that is limited
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return outdated

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best, and then remove the one that was best before."""
        if not self.save_best:
            return
        before = self._best_paths()
        # mmengine removes those that it knows before it writes
        self._set_best_paths(dict.fromkeys(before))
        super()._save_best_checkpoint(runner, metrics)
        now = self._best_paths()
        self._set_best_paths({key: path or before.get(key) for key, path in now.items()})
        if is_main_process():
            for key, path in before.items():
                if path and now[key] and path != now[key]:
                    self._remove(path)

    def _best_paths(self) -> dict[str, str | None]:
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best_paths(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = paths.values()
        else:
            self.best_ckpt_path_dict.update(paths)

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):
            # sharded checkpoints are folders
            self.file_backend.rmtree(path)
