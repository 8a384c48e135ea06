"""Which checkpoint a run can resume from."""

import re
import zipfile
from pathlib import Path


def check_intact(path: str | Path) -> None:
    """Check that a checkpoint is there as a whole, without reading its weights.

    PyTorch writes archives whose table of contents comes last, so one that was cut off has none. Folders (sharded
    checkpoints) and files older than PyTorch 1.6 are not looked into.

    Raises:
        ValueError: it is missing, empty or was cut off; names it.
    """
    path = Path(path)
    if path.is_dir():
        return
    if not path.is_file():
        raise ValueError(f'{path} is missing')
    with path.open('rb') as file:
        begins_as_archive = file.read(2) == b'PK'
    if not path.stat().st_size:
        raise ValueError(f'{path} is empty')
    if begins_as_archive and not zipfile.is_zipfile(path):
        raise ValueError(f'{path} was cut off after {path.stat().st_size} bytes')


def newest_intact(folder: str | Path, last: str | Path | None, template: str) -> tuple[Path, list[str]]:
    """The checkpoint to resume from, and what is wrong with those that are newer.

    Args:
        folder: where to look for others than the last one.
        last: the one that was written last, by what the run noted; newer ones are left alone, they are of other runs.
            None if the note is lost.
        template: name of a checkpoint with ``{}`` for its number, ``'iter_{}.pth'``.

    Raises:
        ValueError: none is intact; names all.
    """
    pattern = re.compile(re.escape(template).replace(r'\{\}', r'\d+(_iter_\d+)?'))
    beside = [path for path in Path(folder).iterdir() if pattern.fullmatch(path.name)]
    if last is None:
        candidates = sorted(beside, key=_numbers, reverse=True)
    else:
        older = [path for path in beside if _numbers(path) < _numbers(Path(last))]
        candidates = [Path(last), *sorted(older, key=_numbers, reverse=True)]
    found = []
    for path in candidates:
        try:
            check_intact(path)
        except ValueError as error:
            found.append(str(error))
        else:
            return path, found
    raise ValueError(
        f'{folder} has no checkpoint to resume from: {"; ".join(found) or "there is none"}. Copy an intact one there '
        'and write its path to the file last_checkpoint, or start anew without resuming'
    )


def _numbers(path: Path) -> list[int]:
    """``[2, 350]`` of ``epoch_2_iter_350.pth``, which lies between ``epoch_2.pth`` and ``epoch_3.pth``."""
    return [int(number) for number in re.findall(r'\d+', path.stem)]
