"""Trained segmentation models, and the images that they are compared on."""

import os
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS

from mmrecall.analysis.build_model import build_model
from mmrecall.analysis.predictions.disagreement import ComparedImage
from mmrecall.analysis.trained_runs import TrainedRun
from mmrecall.config_files import naming_mistakes, read_config
from mmrecall.io import load_weights
from mmrecall.upstream import require

require('mmseg.models')

from mmseg.models import BaseSegmentor  # noqa: E402

Array = np.ndarray

_LISTED = 5


class TrainedSegmentor:
    """Model of mmseg with its weights, and the images of a split of its config.

    Args:
        run: config and checkpoint; no code in the checkpoint is run, see `read_checkpoint`.
        split: ``'val'`` or ``'test'``.
        device: ``'cpu'`` or ``'cuda'``.
        options: settings that override those of the config.

    Attributes:
        classes: names of the classes, in the order of their numbers.
        palette: (C, 3) uint8 RGB.
        image_paths: paths of all images.

    Raises:
        FileNotFoundError: the checkpoint or a file of the data set is missing.
        ValueError: a config of another kind of model, without such a split or without class names, or a checkpoint of
            another model.
    """

    def __init__(self, run: TrainedRun, split: str, device: str = 'cpu', options: dict[str, Any] | None = None) -> None:
        self.run = run
        config = read_config(run.config, options)
        config.setdefault('default_scope', 'mmseg')
        self.model = build_model(config).to(device).eval()
        if not isinstance(self.model, BaseSegmentor):
            raise ValueError(
                f'got {run.config} of a {type(self.model).__name__}; expected a segmentation model of mmseg'
            )
        load_weights(self.model, run.checkpoint, run.config)
        loader = config.get(f'{split}_dataloader') or {}
        if 'dataset' not in loader:
            raise ValueError(f'{run.config} has no {split}_dataloader with a dataset; choose another --split')
        with naming_mistakes(config):
            self.dataset = DATASETS.build(loader['dataset'])
        self.classes = tuple(self.dataset.metainfo.get('classes') or ())
        if not self.classes:
            raise ValueError(f'the {split} data set of {run.config} has no class names; set its metainfo.classes')
        self.palette = np.array(self.dataset.metainfo['palette'], np.uint8)
        # A concatenation of data sets has no such attribute; 255 is mmseg's default.
        self.ignore_index = getattr(self.dataset, 'ignore_index', 255)
        self.image_paths = [self.dataset.get_data_info(index)['img_path'] for index in range(len(self.dataset))]

    @property
    def image_names(self) -> list[str]:
        """Path of every image below the common folder, without its suffix."""
        folder = os.path.commonpath([os.path.dirname(path) for path in self.image_paths])
        return [Path(os.path.relpath(path, folder)).with_suffix('').as_posix() for path in self.image_paths]

    def class_numbers(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of classes.

        Raises:
            ValueError: a name that is no class.
        """
        for name in names:
            if name not in self.classes:
                raise ValueError(f'got --classes {name}; expected classes of the data set: {", ".join(self.classes)}')
        return [self.classes.index(name) for name in names]

    @torch.no_grad()
    def predict(self, index: int) -> tuple[Array, Array]:
        """Return true and predicted classes of an image, each (H, W) int32, as in mmseg's test.

        Raises:
            ValueError: labels that are missing or of another size, or a class in the labels or the prediction that the
                data set does not have.
        """
        sample = self.model.test_step(pseudo_collate([self.dataset[index]]))[0]
        if 'gt_sem_seg' not in sample:
            raise ValueError(f'the test pipeline of {self.run.config} loads no labels; add LoadAnnotations to it')
        truth, prediction = (
            found.data[0].cpu().numpy().astype(np.int32) for found in (sample.gt_sem_seg, sample.pred_sem_seg)
        )
        if truth.shape != prediction.shape:
            raise ValueError(
                f'got labels of size {truth.shape} and a prediction of size {prediction.shape} for {sample.img_path}; '
                'load the labels after the resize in the test pipeline, as mmseg does'
            )
        labels = truth[truth != self.ignore_index]
        if labels.size and labels.max() >= len(self.classes):
            raise ValueError(
                f'got class {labels.max()} in the labels of {sample.img_path}; expected the {len(self.classes)} '
                f'classes of the data set, or {self.ignore_index} for an unlabelled pixel'
            )
        if prediction.max() >= len(self.classes):
            raise ValueError(
                f'got class {prediction.max()} from {self.run.checkpoint}; expected the {len(self.classes)} classes of '
                f'the data set of {self.run.config}'
            )
        return truth, prediction


def check_comparable(segmentors: Sequence[TrainedSegmentor]) -> None:
    """Check that models have the same classes, and the same images in the same order.

    Raises:
        ValueError: a difference, with the configs.
    """
    first, *others = segmentors
    for other in others:
        configs = f'{first.run.config} and {other.run.config}'
        if other.classes != first.classes:
            raise ValueError(
                f'{configs} have different classes or another order of them, [{", ".join(first.classes)}] and '
                f'[{", ".join(other.classes)}]; expected the same classes in the same order'
            )
        names, theirs = first.image_names, other.image_names
        if theirs != names:
            differs = sorted(set(names) ^ set(theirs))
            found = f'{differs[0]} is in one of them alone' if differs else 'their order differs'
            raise ValueError(
                f'{configs} have different images, {len(names)} and {len(theirs)}, and {found}; expected the same'
            )


def find_images(wanted: Sequence[str], paths: Sequence[str]) -> list[int]:
    """Return the numbers of images by their names, or by the ends of their paths, with or without suffix.

    Raises:
        ValueError: no image of such a name, for which similar names are given, or several.

    Example:
        >>> find_images(['b/1', '2.png'], ['a/1.png', 'b/1.png', 'b/2.png'])
        [1, 2]
    """
    return list(dict.fromkeys(_find_image(name, paths) for name in wanted))


def _find_image(wanted: str, paths: Sequence[str]) -> int:
    end = f'/{wanted.lstrip("/")}'
    found = [number for number, path in enumerate(paths) if f'/{path}'.endswith(end) or f'/{_stem(path)}'.endswith(end)]
    if not found:
        similar = get_close_matches(Path(_stem(wanted)).name, [Path(_stem(path)).name for path in paths], cutoff=0)
        raise ValueError(f'{wanted} is none of the {len(paths)} images; similar names are {", ".join(similar)}')
    if len(found) > 1:
        listed = ', '.join(paths[number] for number in found[:_LISTED])
        raise ValueError(f'{wanted} is the name of {len(found)} images; give more of the path, such as of {listed}')
    return found[0]


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def compare_models(
    segmentors: Sequence[TrainedSegmentor],
    images: Iterable[int],
    kept: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> list[ComparedImage]:
    """Predict images with several models and return those on which they differ most; of equals, the first.

    Args:
        segmentors: models that pass `check_comparable`; the first gives the names of the images.
        images: numbers of the images.
        kept: number of images to return and to keep in memory; by default all.
        on_image: called after each image.

    Raises:
        ValueError: an error of `TrainedSegmentor.predict`, or an image with different labels for two models.
    """
    first = segmentors[0]
    names = first.image_names
    compared: list[ComparedImage] = []
    for number in images:
        truths, predictions = zip(*(segmentor.predict(number) for segmentor in segmentors), strict=True)
        for segmentor, truth in zip(segmentors, truths, strict=True):
            if not np.array_equal(truth, truths[0]):
                raise ValueError(
                    f'{names[number]} has different labels in {segmentor.run.config} and {first.run.config}; expected '
                    'the same'
                )
        image = ComparedImage(
            names[number], first.image_paths[number], truths[0], predictions, len(first.classes), first.ignore_index
        )
        compared = sorted([*compared, image], key=lambda one: -one.disagreement)[:kept]
        on_image()
    return compared
