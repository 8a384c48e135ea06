"""Tags of CamVid's images: the classes in them, a task with several labels an image."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmrecall.datasets.camvid import CamVidDataset
from mmrecall.io import atomic_write

SPLITS = ('train', 'val', 'test')
CLASSES = CamVidDataset.METAINFO['classes']
# most classes have a few pixels in nearly every image, so that their presence alone says little
_SMALLEST_SHARE = 0.01


def write_tags(root: str | os.PathLike) -> dict[str, dict[str, int]]:
    """Write the classes of every image for mmpretrain's `MultiLabelDataset`, and return their numbers by split.

    An image has the tag of a class that has at least 1 % of its pixels. The lists are ``{root}/{split}_tags.json``.

    Args:
        root: folder of CamVid, with ``train``, ``trainannot``, ….

    Raises:
        FileNotFoundError: a folder or a label is missing.
        ValueError: a label is invalid; names the file.
    """
    numbers = {}
    for split in SPLITS:
        images = []
        for image, label in _labels(root, split):
            shares = np.bincount(label.ravel(), minlength=len(CLASSES))[: len(CLASSES)] / label.size
            tags = np.flatnonzero(shares >= _SMALLEST_SHARE).tolist()
            images.append(dict(img_path=image.relative_to(root).as_posix(), gt_label=tags))
        with atomic_write(Path(root, f'{split}_tags.json')) as path:
            path.write_text(json.dumps(dict(metainfo=dict(classes=CLASSES), data_list=images)))
        counts = np.bincount([tag for image in images for tag in image['gt_label']], minlength=len(CLASSES))
        numbers[split] = dict(zip(CLASSES, counts.tolist(), strict=True))
    return numbers


def _labels(root: str | os.PathLike, split: str) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield the path of every image of a split and its label, uint8 (H, W), where unlabelled pixels are 255."""
    dataset = CamVidDataset(
        data_root=str(root),
        data_prefix=dict(img_path=split, seg_map_path=f'{split}annot'),
        pipeline=[dict(type='mmrecall.LoadCheckedAnnotations', num_classes=len(CLASSES))],
    )
    for item in dataset:
        yield Path(item['img_path']), item['gt_seg_map']
