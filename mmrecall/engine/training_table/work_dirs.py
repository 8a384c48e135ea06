"""The work dirs of a table: the origin of their checkpoints, and the end of their trainings."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmrecall.config_files import read_config
from mmrecall.datasets.class_order import some_of
from mmrecall.engine.earlier_runs import earlier_checkpoints
from mmrecall.engine.resume import LAST_CHECKPOINT, read_note
from mmrecall.engine.training_conditions import plain_settings
from mmrecall.io import read_checkpoint

# the parts of a config that make a training another one
_TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
# but not these settings in them; the train tool of mmpretrain adds some
_FREE = {'num_workers', 'pin_memory', 'persistent_workers', 'collate_fn', 'data_root', 'val_interval'}


def has_checkpoints(work_dir: Path) -> bool:
    """Return whether a training has written a checkpoint in a work dir."""
    return (work_dir / LAST_CHECKPOINT).exists() or any(work_dir.glob('*.pth'))


def check_owner(work_dir: Path, config: Config) -> None:
    """Check that the checkpoints in a work dir, if there are any, are of a config.

    The model, the training data, the optimizer and the schedules are compared with the config that mmengine saved in
    the work dir; logging, workers and the place of the data are not.

    Raises:
        ValueError: they are of another one; names the settings that differ.
    """
    if not has_checkpoints(work_dir):
        return
    saved = work_dir / Path(config.filename).name
    if not saved.is_file():
        raise ValueError(
            f'{work_dir} has checkpoints, but not of {config.filename}: there is no {saved.name}, which mmengine saves '
            'beside them; set another --work-dir'
        )
    before, now = (dict(_settings(one)) for one in (read_config(saved), config))
    changes = [
        f'{key} was {before.get(key)}, is {now.get(key)}'
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]
    if changes:
        raise ValueError(
            f'{work_dir} has checkpoints of another training than that of {config.filename} and these options: '
            f'{some_of(changes)}; set another --work-dir, or the settings of before'
        )


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for part in _TRAINING:
        for key, value in plain_settings(config.get(part), part):
            names = key.split('.')
            if _FREE.isdisjoint(names):
                # A saved config has the path of a class.
                yield key, value.rpartition('.')[2] if names[-1] == 'type' and isinstance(value, str) else value


def is_finished(work_dir: Path, config: Config) -> bool:
    """Return whether a training has reached the end of its schedule and done its last validation."""
    last, _ = read_note(str(work_dir))
    if last is None or Path(last).name in earlier_checkpoints(work_dir):
        return False
    try:
        # The work dir may be a copy, of which the path in the note is the original.
        meta = read_checkpoint(work_dir / Path(last).name).get('meta')
    # A resume takes the one before.
    except (FileNotFoundError, ValueError):
        return False
    schedule = config.get('train_cfg') or {}
    return _is_at_end(meta, schedule) and (not config.get('val_dataloader') or _validated(work_dir, meta))


def _is_at_end(meta: Any, schedule: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint is the last of its schedule, by epochs or by iterations."""
    if not isinstance(meta, Mapping):
        return False
    pairs = [(meta.get('epoch'), schedule.get('max_epochs')), (meta.get('iter'), schedule.get('max_iters'))]
    return any(isinstance(now, int) and isinstance(end, int) and now >= end for now, end in pairs)


def _validated(work_dir: Path, meta: Mapping[str, Any]) -> bool:
    """Return whether the last line that the newest start has logged is of a validation at the last checkpoint."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'), reverse=True)
    lines = next(filter(None, (log.read_text(errors='replace').splitlines() for log in logs)), [''])
    try:
        record = json.loads(lines[-1])
    except ValueError:
        return False
    if not isinstance(record, dict) or 'iter' in record:
        return False
    return record.get('step') in (meta.get('epoch'), meta.get('iter'))
