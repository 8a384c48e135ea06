"""Checkpoints that converters write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmrecall.io import Placeholder, atomic_write

_KEPT = ('cfg', 'dataset_meta')


def check_absent(*paths: str | Path) -> None:
    """Check that no file would be overwritten.

    Raises:
        FileExistsError: a file is there already.
    """
    for path in paths:
        if Path(path).exists():
            raise FileExistsError(f'{path} is there already; remove it, or choose another name')


def write_weights(path: str | Path, weights: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Path:
    """Write a checkpoint with weights, and with the config and the class names of the one that they come from.

    Raises:
        FileExistsError: the file is there already.
        OSError: the file cannot be written; names it.
    """
    path = Path(path)
    check_absent(path)
    kept = {key: meta[key] for key in _KEPT if not isinstance(meta.get(key), Placeholder | None)}
    # With a path instead of a file, torch.save does not say that the disk is full.
    with atomic_write(path) as partial, partial.open('wb') as file:
        torch.save(dict(meta=kept, state_dict=weights), file)
    return path
