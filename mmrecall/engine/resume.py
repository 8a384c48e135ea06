"""The checkpoint that a run resumes from: the newest intact one of its work directory, or one that was named."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from mmengine.runner import Runner

from mmrecall.datasets.class_order import some_of
from mmrecall.engine.earlier_runs import EARLIER, earlier_checkpoints
from mmrecall.io import check_intact

LAST_CHECKPOINT = 'last_checkpoint'

# The file that tools/slurm_arguments.sh writes to the work directory of a job when it is submitted.
_SUBMITTED = 'slurm_command.sh'


def checkpoint_to_resume(runner: Runner, folder: str, template: str, still_working: Callable[[], object]) -> str | None:
    """Return the checkpoint that a runner has to load when it resumes, or None if there is none; log what it skips.

    The file of ``--resume FILE``, and a ``load_from`` inside the work directory, is that checkpoint. Another
    ``load_from`` is what the training began with, and is used only while the work directory has no checkpoint. In
    a job that Slurm has requeued after it wrote a checkpoint, the first one is what the job began with, too.

    The file ``last_checkpoint`` gives the name of the newest checkpoint, not its folder, because a work directory may
    have been copied or renamed since.

    Args:
        runner: runner of mmengine that has not loaded anything yet.
        folder: folder of the checkpoints; the work directory, unless the hook has another ``out_dir``.
        template: see `newest_intact`.
        still_working: see `mmrecall.io.check_intact`.

    Raises:
        ValueError: the checkpoint that was named, or every one in the folder, is not intact or of an earlier training,
            see `mmrecall.engine.earlier_runs`; or ``last_checkpoint`` holds an address.
    """
    given, (last, fault) = runner._load_from, read_note(runner.work_dir)
    named = given and (given == _named_by_flag() or _is_inside(given, (runner.work_dir, folder)))
    if named and not _is_requeued(runner.work_dir):
        if '://' not in given:
            check_intact(given, still_working)
        if last and Path(last).name != Path(given).name:
            runner.logger.warning(
                f'Resuming from {given} by its name; {LAST_CHECKPOINT} says {Path(last).name}, which --resume without '
                'a file takes until the next checkpoint is written'
            )
        return given
    if '://' in folder:
        return (named and last) or given or last
    note = Path(runner.work_dir, LAST_CHECKPOINT)
    if last and '://' in last:
        raise ValueError(
            f'{note} holds the address {last}, from which nothing is fetched: this training writes its checkpoints to '
            f'{folder}. Write the path of one of them to that file, or remove the file to take the newest'
        )
    earlier = earlier_checkpoints(runner.work_dir)
    if last and Path(last).name in earlier:
        last, fault = None, 'names a checkpoint of an earlier training'
    if not last and not _checkpoints(folder, template, earlier):
        if earlier:
            raise ValueError(
                f'{runner.work_dir} has no checkpoint of its last training; those of an earlier one are '
                f'{some_of(sorted(earlier))}. To go on from one of them, name it: --resume FILE or load_from=FILE; to '
                f'train from the start, leave --resume out. (If they are of one training, remove the file {EARLIER})'
            )
        if not note.exists():
            return given
    newest = Path(folder, Path(last).name) if last else None
    path, broken = newest_intact(folder, newest, template, still_working, earlier)
    for reason in [*([f'{note} {fault}'] if fault else []), *broken]:
        runner.logger.warning(f'{reason}; resuming from {path} instead')
    if named:
        runner.logger.warning(
            f'Resuming from {path} and not from {given}, with which the job was submitted: Slurm has requeued it '
            f'(SLURM_RESTART_COUNT={os.environ["SLURM_RESTART_COUNT"]}). To go back to that file, submit a new job'
        )
    elif given:
        # mmseg's train tool leaves load_from in the config; a requeued run would begin with it again and again.
        runner.logger.warning(
            f'Resuming from {path}; load_from={given} is taken for what the run began with. To go back to it, copy it '
            f'to {folder} and set load_from to the copy'
        )
    return str(path)


def _named_by_flag() -> str | None:
    """Return the file of the last ``--resume FILE`` on the command line, of which runners learn a ``load_from``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--resume', nargs='?')
    return parser.parse_known_args(sys.argv[1:])[0].resume


def _is_requeued(work_dir: str) -> bool:
    """Return whether Slurm has requeued this job, and a checkpoint was written since it was submitted."""
    note, submitted = Path(work_dir, LAST_CHECKPOINT), Path(work_dir, _SUBMITTED)
    if os.environ.get('SLURM_RESTART_COUNT', '0') == '0' or not note.exists():
        return False
    # Other scripts than those of mmrecall do not say when a job was submitted.
    return not submitted.exists() or note.stat().st_mtime_ns > submitted.stat().st_mtime_ns


def _is_inside(path: str, folders: tuple[str, ...]) -> bool:
    return any(Path(folder).resolve() in Path(path).resolve().parents for folder in folders)


def read_note(work_dir: str) -> tuple[str | None, str | None]:
    """Return the path in the file ``last_checkpoint``, or None and what is wrong with that file."""
    try:
        text = Path(work_dir, LAST_CHECKPOINT).read_text(encoding='utf-8').strip()
    except FileNotFoundError:
        return None, 'is missing'
    except (OSError, UnicodeDecodeError) as error:
        return None, f'cannot be read ({error})'
    # A power failure leaves NUL bytes, of which some systems make a file of the right size.
    if '\0' in text or (text and not Path(text).name):
        return None, f'is damaged: it holds {text[:40]!r}'
    return text or None, None if text else 'is empty'


def newest_intact(
    folder: str | Path,
    last: str | Path | None,
    template: str,
    still_working: Callable[[], object] = lambda: None,
    earlier: Collection[str] = (),
) -> tuple[Path, list[str]]:
    """Return the newest intact checkpoint, and one sentence for each newer one that says what is wrong with it.

    Args:
        folder: folder of the checkpoints that are older than the last.
        last: the checkpoint that the run wrote last, by its note; newer ones are left alone, because they are of other
            runs. None if the note is lost.
        template: name of a checkpoint with ``{}`` for its number, ``'iter_{}.pth'``.
        still_working: see `mmrecall.io.check_intact`.
        earlier: names of checkpoints to leave alone, because an earlier training wrote them.

    Raises:
        ValueError: no checkpoint is intact; names all.
    """
    candidates = _checkpoints(folder, template, earlier)
    if last is not None:
        candidates = [path for path in candidates if _numbers(path) < _numbers(Path(last))]
    candidates = [*([] if last is None else [Path(last)]), *sorted(candidates, key=_numbers, reverse=True)]
    broken = []
    for path in candidates:
        try:
            check_intact(path, still_working)
        except ValueError as error:
            broken.append(str(error))
        else:
            return path, broken
    raise ValueError(
        f'{folder} has no checkpoint to resume from: {"; ".join(broken) or "there is none"}. Copy an intact one there '
        f'and write its path to the file {LAST_CHECKPOINT}, or train from the start, without --resume'
    )


def _checkpoints(folder: str | Path, template: str, earlier: Collection[str]) -> list[Path]:
    """Return the files in a folder whose names fit the template, but those; there need be no folder yet."""
    pattern = re.compile(re.escape(template).replace(r'\{\}', r'\d+(_iter_\d+)?'))
    return [path for path in Path(folder).glob('*') if pattern.fullmatch(path.name) and path.name not in earlier]


def _numbers(path: Path) -> list[int]:
    """Return ``[2, 350]`` for ``epoch_2_iter_350.pth``, which lies between ``epoch_2.pth`` and ``epoch_3.pth``."""
    return [int(number) for number in re.findall(r'\d+', path.stem)]
