"""The checkpoint that a run resumes from: the newest intact one."""

import re
from pathlib import Path

from mmengine.runner import Runner, find_latest_checkpoint

from mmrecall.io import check_intact

LAST_CHECKPOINT = 'last_checkpoint'


def checkpoint_to_resume(runner: Runner, template: str) -> str | None:
    """Return the checkpoint that a runner has to load when it resumes, or None if there is none; log what it skips.

    A ``load_from`` inside the work directory is that checkpoint. One elsewhere is what the training began with, and is
    taken only while the work directory has no checkpoint.

    Args:
        runner: of mmengine, which has not loaded anything yet.
        template: see `newest_intact`.

    Raises:
        ValueError: the ``load_from`` inside the work directory, or every checkpoint there, is not intact.
    """
    given, last = runner._load_from, find_latest_checkpoint(runner.work_dir)
    if given and (last is None or Path(runner.work_dir).resolve() in Path(given).resolve().parents):
        if '://' not in given:
            check_intact(given)
        return given
    if last is None or '://' in last:
        return given or last
    path, broken = newest_intact(Path(last).parent if last else runner.work_dir, last or None, template)
    if not last:
        broken = [f'the file {LAST_CHECKPOINT} is empty', *broken]
    for reason in broken:
        runner.logger.warning(f'{reason}; resuming from {path} instead')
    if given:
        # mmseg's train tool leaves load_from in the config; a requeued run would begin with it again and again.
        runner.logger.warning(f'Resuming from {path}; load_from={given} is what the run began with')
    return str(path)


def newest_intact(folder: str | Path, last: str | Path | None, template: str) -> tuple[Path, list[str]]:
    """Return the newest intact checkpoint, and one sentence for each newer one that says what is wrong with it.

    Args:
        folder: of the checkpoints that are older than the last.
        last: the checkpoint that the run wrote last, by its note; newer ones are left alone, because they are of other
            runs. None if the note is lost.
        template: name of a checkpoint with ``{}`` for its number, ``'iter_{}.pth'``.

    Raises:
        ValueError: no checkpoint is intact; names all.
    """
    pattern = re.compile(re.escape(template).replace(r'\{\}', r'\d+(_iter_\d+)?'))
    candidates = [path for path in Path(folder).iterdir() if pattern.fullmatch(path.name)]
    if last is not None:
        candidates = [path for path in candidates if _numbers(path) < _numbers(Path(last))]
    candidates = [*([] if last is None else [Path(last)]), *sorted(candidates, key=_numbers, reverse=True)]
    broken = []
    for path in candidates:
        try:
            check_intact(path)
        except ValueError as error:
            broken.append(str(error))
        else:
            return path, broken
    raise ValueError(
        f'{folder} has no checkpoint to resume from: {"; ".join(broken) or "there is none"}. Copy an intact one there '
        f'and write its path to the file {LAST_CHECKPOINT}, or start anew without resuming'
    )


def _numbers(path: Path) -> list[int]:
    """Return ``[2, 350]`` for ``epoch_2_iter_350.pth``, which lies between ``epoch_2.pth`` and ``epoch_3.pth``."""
    return [int(number) for number in re.findall(r'\d+', path.stem)]
