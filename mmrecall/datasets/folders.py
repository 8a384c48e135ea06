"""Folders that are searched for images."""

import os
from pathlib import Path


def check_links(folder: str | Path) -> None:
    """Check that no link below a folder is broken or leads back to a folder that it is in.

    MMEngine leaves out what a broken link stands for, and follows the others round and round.

    Raises:
        FileNotFoundError: a broken link; names it.
        ValueError: a loop; names the link.
    """
    _check(Path(folder), (os.path.realpath(folder),))


def _check(folder: Path, above: tuple[str, ...]) -> None:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_symlink() and os.path.realpath(entry.path) in above:
            raise ValueError(f'{entry.path} is a link to a folder that it is in, {os.readlink(entry.path)}; remove it')
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise FileNotFoundError(
                f'{entry.path} is missing: it is a link to {os.readlink(entry.path)}, which is not there'
            )
        if entry.is_dir():
            _check(Path(entry.path), (*above, os.path.realpath(entry.path)))
