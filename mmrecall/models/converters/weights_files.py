"""Checkpoints that converters write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmrecall.io import Placeholder, atomic_write


def check_absent(*paths: str | Path) -> None:
    """Check that no file would be overwritten.

    Raises:
        FileExistsError: a file is there already.
    """
    for path in paths:
        if Path(path).exists():
            raise FileExistsError(f'{path} is there already; remove it, or choose another name')


def write_weights(path: str | Path, weights: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Path:
    """Write a checkpoint with weights, and with the config and class names of their source checkpoint.

    Raises:
        FileExistsError: the file is there already.
        OSError: the file cannot be written; the message names it.
    """
    path = Path(path)
    check_absent(path)
    kept = dict(cfg=meta.get('cfg'))
    if isinstance(meta.get('dataset_meta'), Mapping):
        kept['dataset_meta'] = {key: value for key, value in meta['dataset_meta'].items() if _is_plain(value)}
    kept = {key: value for key, value in kept.items() if value is not None and _is_plain(value)}
    # With a path instead of a file, torch.save does not say that the disk is full.
    with atomic_write(path) as partial, partial.open('wb') as file:
        torch.save(dict(meta=kept, state_dict=weights), file)
    return path


def _is_plain(value: Any) -> bool:
    """Return whether no part of a value is a stand-in for an object of another class."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return not isinstance(value, Placeholder)
