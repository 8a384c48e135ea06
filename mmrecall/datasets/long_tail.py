"""Long-tailed image sets for MMPretrain, read from published lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine import fileio

from mmrecall.datasets.image_files import ReadableImages
from mmrecall.datasets.label_lists import (
    LabelledImage,
    LabelList,
    read_class_names,
    read_competition_json,
    read_list,
)
from mmrecall.datasets.label_statistics import LabelStatistics
from mmrecall.registry import DATASETS, register
from mmrecall.upstream import require

require('mmpretrain.datasets')

from mmpretrain.datasets import BaseDataset  # noqa: E402
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES  # noqa: E402


@register(DATASETS)
class LongTailList(LabelStatistics, ReadableImages, BaseDataset):
    """Images and labels of a list with "path label" in every line; paths are below ``data_root`` and ``data_prefix``.

    Without ``classes``, the folders of the images name the classes, see `read_list`. The images are not looked for
    before they are read, because that takes minutes for half a million files on a network disk.

    Args:
        ann_file: the list; paths may contain spaces.
        classes: names of the classes, or a file of them, see `read_class_names`.
        **kwargs: arguments of mmpretrain's `BaseDataset`. With ``test_mode=True`` a list may contain the label -1, for
            images of classes that training does not have; see `mmrecall.evaluation.ShotAccuracy`.

    Raises:
        FileNotFoundError: the list is missing; or, when it is read, an image: names it, the list and the line.
        ValueError: the list is empty, or has a line of another form, a label that is no class or an image with two
            labels: names list and line; or, when it is read, an image cannot be read.
    """

    NUM_CLASSES: int | None = None

    def __init__(self, ann_file: str, classes: str | Sequence[str] | None = None, **kwargs: Any) -> None:
        classes = read_class_names(classes) if isinstance(classes, str) else classes
        super().__init__(ann_file=ann_file, classes=classes, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return the images in the order of the list."""
        found = self._read(self._number_of_classes())
        self._metainfo.setdefault('classes', tuple(found.classes))
        paths = self._full_paths(found.images)
        return [dict(img_path=path, gt_label=image.label) for path, image in zip(paths, found.images, strict=True)]

    def prepare_data(self, index: int) -> Any:
        """Return item ``index`` after the pipeline."""
        try:
            return super().prepare_data(index)
        except FileNotFoundError as error:
            path = self.get_data_info(index)['img_path']
            if fileio.exists(path):
                raise
            images = self._read(self._number_of_classes()).images
            place = images[self._full_paths(images).index(path)].place
            raise FileNotFoundError(
                f'the image {path} is missing, which {self.ann_file} names in {place}; is the data set unpacked '
                'completely, and are data_root and data_prefix right?'
            ) from error

    def _read(self, num_classes: int | None) -> LabelList:
        return read_list(self.ann_file, num_classes, unknown_classes=self.test_mode)

    def _full_paths(self, images: Sequence[LabelledImage]) -> list[str]:
        backend = fileio.get_file_backend(self.img_prefix, enable_singleton=True)
        return [backend.join_path(self.img_prefix, image.path) for image in images]

    def _number_of_classes(self) -> int | None:
        named = self._metainfo.get('classes')
        if named is None:
            return self.NUM_CLASSES
        if self.NUM_CLASSES not in (None, len(named)):
            raise ValueError(
                f'got {len(named)} names of classes; expected {self.NUM_CLASSES} for {type(self).__name__}; set '
                'classes to as many names'
            )
        return len(named)


@register(DATASETS)
class PlacesLT(LongTailList):
    """Places-LT: 365 scenes, 62,500 training images, 4,980 to 5 per class; the folders name the classes.

    Lists ``Places_LT_{train,val,test}.txt`` of Liu et al., "Large-scale long-tailed recognition in an open world",
    CVPR 2019; images of Places365-Standard (256x256). Arguments and errors: `LongTailList`.
    """

    NUM_CLASSES = 365


@register(DATASETS)
class INaturalist2018(LongTailList):
    """iNaturalist 2018: 8,142 species, 437,513 training and 24,426 validation images, 1,000 to 2 per class.

    Either the lists ``iNaturalist18_{train,val}.txt``, where the folders (``Plantae/7477``) name the classes, or the
    competition's ``train2018.json`` and ``val2018.json``, where ``categories`` do. Van Horn et al., "The iNaturalist
    species classification and detection dataset", CVPR 2018. Other arguments and errors: `LongTailList`.

    Args:
        ann_file: a list, or a file whose name ends with ``.json``.
        **kwargs: arguments of `LongTailList`.
    """

    NUM_CLASSES = 8142

    def _read(self, num_classes: int | None) -> LabelList:
        if self.ann_file.endswith('.json'):
            return read_competition_json(self.ann_file, self.NUM_CLASSES)
        return super()._read(num_classes)


@register(DATASETS)
class ImageNetLT(LongTailList):
    """ImageNet-LT: 1,000 classes, 115,846 training images, 1,280 to 5 per class; the class names of ILSVRC 2012.

    Lists ``ImageNet_LT_{train,val,test}.txt`` of Liu et al., "Large-scale long-tailed recognition in an open world",
    CVPR 2019; images of ILSVRC 2012. Arguments and errors: `LongTailList`.
    """

    NUM_CLASSES = 1000
    METAINFO = dict(classes=IMAGENET_CATEGORIES)
