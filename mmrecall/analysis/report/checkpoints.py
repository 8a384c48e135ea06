"""Whether a checkpoint that was tested is one of a run, by the folder that the log of the test names."""

from pathlib import Path, PurePosixPath
from typing import Any


def is_of_run(checkpoint: str, work_dir: Path, config: dict[str, Any]) -> bool:
    """Return whether a checkpoint lies where the run of a work dir writes its own; so does a bare file name.

    The run may have been moved since: its config says where it was.

    Args:
        checkpoint: path or address, as the test was given it.
        work_dir: present work dir of the run.
        config: config of the run; ``work_dir`` and ``out_dir`` of its checkpoint hook say where it wrote.

    Example:
        >>> config = dict(work_dir='work_dirs/ce')
        >>> [is_of_run(f'{run}/epoch_1.pth', Path('/tmp/copy'), config) for run in ('/a/work_dirs/ce', 'work_dirs/sdn')]
        [True, False]
    """
    folder = checkpoint.rpartition('/')[0]
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    written = str(config.get('work_dir') or work_dir)
    places = [str(work_dir.absolute()), str(work_dir.resolve()), written]
    if hook.get('out_dir'):
        # The hook makes a folder with the name of the work dir there.
        places.append(f'{hook["out_dir"]}/{Path(written).name}')
    return folder in ('', '.') or any(same_path(folder, place) for place in places)


def same_path(one: str, other: str) -> bool:
    """Return whether two paths are the same; a relative one is the same as any that ends in it."""
    if Path(one).is_dir() and Path(other).is_dir():
        return Path(one).samefile(other)
    if Path(one).is_absolute() and Path(other).is_absolute():
        return PurePosixPath(one) == PurePosixPath(other)
    ends, whole = sorted((_parts(one), _parts(other)), key=len)
    return ends == whole[-len(ends) :] and not (ends and ends[0] == '/' and ends != whole)


def _parts(path: str) -> list[str]:
    return [part for part in PurePosixPath(path).parts if part != '..']
