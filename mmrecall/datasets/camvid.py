"""CamVid in the layout and split of the SegNet authors."""

import logging
import os
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmrecall.datasets.image_files import ReadableImages
from mmrecall.registry import DATASETS, register
from mmrecall.upstream import require

require('mmseg.datasets')

from mmseg.datasets import BaseSegDataset  # noqa: E402

_UNLABELLED = 11
_IGNORED = 255


@register(DATASETS)
class CamVidDataset(ReadableImages, BaseSegDataset):
    """CamVid, 11 classes, in the SegNet authors' layout: folders ``train`` and ``trainannot``, ``val``, ``test``, ….

    Images are PNG or JPEG files. Labels are grey PNGs of the same name with ids 0 to 10, and 11 for unlabelled pixels,
    which become 255 (ignored). Brostow et al., "Semantic object classes in video: a high-definition ground truth
    database", 2009; split by Badrinarayanan et al., "SegNet", 2017.

    Args:
        img_suffix: suffix of the images; by default that of the files in the folder.
        **kwargs: arguments of mmseg's `BaseSegDataset`; ``data_root`` and ``data_prefix=dict(img_path='train',
            seg_map_path='trainannot')`` at least.

    Raises:
        FileNotFoundError: a folder, the images, or the label of an image is missing; names it.
        ValueError: PNG and JPEG images in one folder, or a link to a folder that contains it; or, when it is read, an
            image that cannot be read.
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
        """Return the map from old to new labels; unlabelled pixels are always ignored."""
        return {**(super().get_label_map(new_classes) or {}), _UNLABELLED: _IGNORED}

    def get_data_info(self, idx: int) -> dict:
        """Return the paths of image and label, and ``palette``, which labels with palettes are compared with."""
        return dict(super().get_data_info(idx), palette=self._metainfo['palette'])

    def load_data_list(self) -> list[dict]:
        """Return the pairs of image and label, sorted by name."""
        folder = Path(self.data_prefix['img_path'])
        if not folder.is_dir():
            raise FileNotFoundError(
                f'{folder} is missing; CamVidDataset reads data_root/train, trainannot, val, valannot, test, testannot'
            )
        _check_links(folder, (os.path.realpath(folder),))
        self.img_suffix = self.img_suffix or self._suffix_of(folder)
        data_list = super().load_data_list()
        if not data_list:
            raise FileNotFoundError(f'{folder} holds no {self.img_suffix} images')
        # without a folder of labels, the images are for prediction alone
        without = [pair for pair in data_list if 'seg_map_path' in pair and not Path(pair['seg_map_path']).is_file()]
        if without:
            raise FileNotFoundError(
                f'{len(without)} of {len(data_list)} images have no label; the first is {without[0]["img_path"]}, '
                f'expected the label {without[0]["seg_map_path"]}'
            )
        self._warn_of_labels_without_image(data_list)
        return data_list

    def _warn_of_labels_without_image(self, data_list: list[dict]) -> None:
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
            raise ValueError(f'{folder} holds images with the suffixes {sorted(found)}; set img_suffix to one of them')
        return found.pop()


@register(DATASETS)
class CamVidPedestrianDataset(CamVidDataset):
    """Pedestrians of CamVid against the rest, a task of two classes from the labels of `CamVidDataset`.

    Label 1 is Pedestrian, 0 every other class; unlabelled pixels become 255 (ignored).
    """

    METAINFO = dict(classes=('Rest', 'Pedestrian'), palette=[[0, 0, 0], [64, 64, 0]])

    @classmethod
    def get_label_map(cls, new_classes: Any = None) -> dict[int, int]:
        """Return the map from the labels of the files to the two classes.

        Raises:
            ValueError: other classes are set.
        """
        if new_classes is not None and tuple(new_classes) != cls.METAINFO['classes']:
            raise ValueError(
                f'got metainfo.classes={new_classes}; expected {cls.METAINFO["classes"]}, the labels 0 and 1; '
                'leave classes out'
            )
        names = CamVidDataset.METAINFO['classes']
        return {**{label: int(name == 'Pedestrian') for label, name in enumerate(names)}, _UNLABELLED: _IGNORED}

    def get_data_info(self, idx: int) -> dict:
        """Return the paths of image and label, without a palette: the colours in a label file are of 11 classes."""
        return dict(super().get_data_info(idx), palette=())


def _check_links(folder: str | Path, above: tuple[str, ...]) -> None:
    """Check that no link below a folder is broken or leads to one of the folders above it.

    MMEngine leaves out broken links, and follows the others without end.
    """
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        target = os.path.realpath(entry.path)
        if entry.is_symlink() and target in above:
            raise ValueError(
                f'{entry.path} is a link to a folder that contains it, {os.readlink(entry.path)}; remove it'
            )
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise FileNotFoundError(
                f'{entry.path} is missing: it is a link to {os.readlink(entry.path)}, which does not exist'
            )
        if entry.is_dir():
            _check_links(entry.path, (*above, target))
