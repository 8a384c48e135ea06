"""Comparison of the training items of two runs, or of all ranks."""

import pickle
import socket
import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.runner import Runner


def checksum_of_items(dataset: Any, below_root: bool = False) -> int | None:
    """Return a checksum of the paths, labels and other entries of mmengine's data sets, or None for others.

    Args:
        dataset: one, or a wrapper around one or several.
        below_root: compare paths below ``data_root``. It reads every entry, which takes longer.
    """
    if hasattr(dataset, 'datasets'):
        return zlib.crc32(pickle.dumps([checksum_of_items(part, below_root) for part in dataset.datasets]))
    if hasattr(dataset, 'dataset'):
        return checksum_of_items(dataset.dataset, below_root)
    # mmengine keeps a list as the bytes of its pickled entries, unless it is told not to.
    entries = getattr(dataset, 'data_bytes', None)
    if entries is not None and len(entries) and not below_root:
        return zlib.crc32(entries)
    if getattr(dataset, 'data_list', None) is None:
        return None
    checksum = 0
    try:
        for entry in _entries(dataset, below_root):
            checksum = zlib.crc32(pickle.dumps(entry), checksum)
    except Exception:  # an entry raises whatever it likes when it cannot be pickled
        return None
    return checksum


def _entries(dataset: Any, below_root: bool) -> Iterator[Any]:
    if not below_root:
        yield from dataset.data_list
        return
    root = str(getattr(dataset, 'data_root', None) or '')
    for number in range(len(dataset)):
        yield _without(root, dataset.get_data_info(number))


def _without(root: str, value: Any) -> Any:
    """Return an entry whose paths begin below a folder."""
    if isinstance(value, dict):
        return {key: _without(root, part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(root, part) for part in value]
    return value.removeprefix(root) if isinstance(value, str) else value


def check_same_items(runner: Runner, sampler: Any, checksum: int | None) -> None:
    """Check that a sampler which shares out the items to the ranks has the same list on all; they raise together.

    A list is the same whose ``data_root`` alone is another, as on machines with a copy of the data each.

    Args:
        runner: runner of mmengine.
        sampler: sampler of the training; one that does not know of the ranks may have another list on each.
        checksum: `checksum_of_items` of this rank's data set.

    Raises:
        ValueError: the lists are different; names the ranks and their machines.
    """
    if runner.world_size == 1 or not hasattr(sampler, 'world_size'):
        return
    dataset = runner.train_dataloader.dataset
    if len(set(all_gather_object((len(dataset), checksum)))) == 1:
        return
    lists = defaultdict(list)
    careful = checksum_of_items(dataset, below_root=True)
    mine = len(dataset), checksum if careful is None else careful
    for rank, (found, host) in enumerate(all_gather_object((mine, socket.gethostname()))):
        lists[found].append(f'{rank} ({host})')
    if len(lists) > 1:
        groups = [f'{length} items with checksum {number} on {", ".join(on)}' for (length, number), on in lists.items()]
        raise ValueError(
            f'the ranks have different lists of training items: {"; ".join(groups)}. Every rank trains on its share of '
            'one list, so give all the same files (ann_file, data_prefix and data_root of the train_dataloader)'
        )
