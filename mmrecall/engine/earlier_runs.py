"""Checkpoints that an earlier training left in the work directory of a new one."""

import re
from pathlib import Path

from mmrecall.io import atomic_write

EARLIER = 'earlier_checkpoints'

# mmengine's names of the checkpoints of an interval, and of the best ones
_NAMES = re.compile(r'(best_.+_)?(epoch|iter)_\d+(_iter_\d+)?\.pth')


def earlier_checkpoints(work_dir: str | Path) -> set[str]:
    """Return the names of the checkpoints that were there before the training of a work directory started.

    Names that the training has written again since are left out.
    """
    try:
        return set(Path(work_dir, EARLIER).read_text(encoding='utf-8', errors='replace').splitlines())
    except FileNotFoundError:
        return set()


def note_earlier(work_dir: str | Path, folder: str | Path, last: str | None) -> list[str]:
    """Note the checkpoints that a new training finds, in the file ``earlier_checkpoints``, and return their names.

    Args:
        work_dir: work directory of the training, where the note is.
        folder: folder of its checkpoints.
        last: name in ``last_checkpoint``, which may have another form.
    """
    found = [path.name for path in Path(folder).glob('*') if _NAMES.fullmatch(path.name) or path.name == last]
    _write(work_dir, set(found))
    return sorted(found, key=lambda name: ([int(number) for number in re.findall(r'\d+', name)], name))


def no_longer_earlier(work_dir: str | Path, name: str) -> None:
    """Note that the training has written a checkpoint of its own by this name."""
    names = earlier_checkpoints(work_dir)
    if name in names:
        _write(work_dir, names - {name})


def _write(work_dir: str | Path, names: set[str]) -> None:
    path = Path(work_dir, EARLIER)
    if not names:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as partial:
        partial.write_text(''.join(f'{name}\n' for name in sorted(names)), encoding='utf-8')
