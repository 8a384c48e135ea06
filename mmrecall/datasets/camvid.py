"""CamVid as the SegNet authors split it."""

import logging
import os
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmrecall.datasets.images import ReadableImages
from mmrecall.registry import DATASETS, register
from mmrecall.upstream import require

require('mmseg.datasets')

from mmseg.datasets import BaseSegDataset  # noqa: E402

UNLABELLED = 11
IGNORED = 255


@register(DATASETS)
class CamVidDataset(ReadableImages, BaseSegDataset):
    """CamVid, 11 classes, in the SegNet authors' layout: folders ``train`` and ``trainannot``, ``val``, ``test``, ….

    Images are PNG or JPEG, whichever the folder holds; labels are grey PNGs of the same name with ids 0 to 10, and
    11 for unlabelled pixels, which become 255 (ignored). Brostow et al., "Semantic object classes in video: a
    high-definition ground truth database", 2009; split by Badrinarayanan et al., "SegNet", 2017.

    Args:
        img_suffix: suffix of the images; by default that of the images which are there.
        **kwargs: of mmseg's `BaseSegDataset`; ``data_root`` and ``data_prefix=dict(img_path='train',
            seg_map_path='trainannot')`` at least.

    Raises:
        FileNotFoundError: a folder, the images, or the label of an image is missing; says which.
        ValueError: PNG and JPEG images in one folder, a link to a folder that it is in; or, when read, an image that
            cannot be read.
    """

    METAINFO = dict(
        classes=(
            'Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree', 'SignSymbol', 'Fence', 'Car', 'Pedestrian',
            'Bicyclist',
        ),
        palette=[
            [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
            [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192],
        ],
    )  # fmt: skip

    def __init__(self, img_suffix: str | None = None, **kwargs: Any) -> None:
        super().__init__(img_suffix=img_suffix or '', **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Any = None) -> dict[int, int]:
        """Old to new label: unlabelled is ignored, also when ``new_classes`` takes a part of the classes."""
        return {**(super().get_label_map(new_classes) or {}), UNLABELLED: IGNORED}

    def load_data_list(self) -> list[dict]:
        """Pairs of image and label, sorted by name."""
        folder = Path(self.data_prefix['img_path'])
        if not folder.is_dir():
            raise FileNotFoundError(
                f'{folder} is missing; CamVidDataset reads data_root/train, trainannot, val, valannot, test, testannot'
            )
        check_links(folder)
        self.img_suffix = self.img_suffix or self._suffix_of(folder)
        data_list = super().load_data_list()
        if not data_list:
            raise FileNotFoundError(f'{folder} holds no {self.img_suffix} images')
        # without a label folder the images are only predicted
        without = [pair for pair in data_list if 'seg_map_path' in pair and not Path(pair['seg_map_path']).is_file()]
        if without:
            raise FileNotFoundError(
                f'{len(without)} of {len(data_list)} images have no label; the first is {without[0]["img_path"]}, '
                f'whose label should be {without[0]["seg_map_path"]}'
            )
        self._say_what_has_no_image(data_list)
        return data_list

    def _say_what_has_no_image(self, data_list: list[dict]) -> None:
        if 'seg_map_path' not in data_list[0] or self.ann_file:
            return
        labels = Path(self.data_prefix['seg_map_path']).glob(f'*{self.seg_map_suffix}')
        without = sorted({str(label) for label in labels} - {str(Path(pair['seg_map_path'])) for pair in data_list})
        if without:
            print_log(
                f'{len(without)} label(s) have no image in {self.data_prefix["img_path"]}, first {without[0]}; is the '
                'folder unpacked completely?',
                logger='current',
                level=logging.WARNING,
            )

    @staticmethod
    def _suffix_of(folder: Path) -> str:
        found = {path.suffix for path in folder.iterdir()} & {'.png', '.jpg', '.jpeg'}
        if not found:
            raise FileNotFoundError(f'{folder} holds no .png, .jpg or .jpeg images')
        if len(found) > 1:
            raise ValueError(f'{folder} holds images of {len(found)} kinds, {sorted(found)}; set img_suffix to one')
        return found.pop()


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
