"""Trained segmentation models and the images they are tested on."""

import os
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmrecall.analysis.display import short_names
from mmrecall.analysis.predictions.disagreement import ComparedImage
from mmrecall.analysis.trained_models import model_of
from mmrecall.engine.stock_tools import CONFIG_SUFFIXES
from mmrecall.io import load_weights
from mmrecall.upstream import require

require('mmseg.apis')

from mmseg.apis import init_model  # noqa: E402
from mmseg.models import BaseSegmentor  # noqa: E402
from mmseg.registry import DATASETS  # noqa: E402

Array = np.ndarray

_LISTED = 5


class Run(NamedTuple):
    """A config and what was trained by it."""

    name: str
    """As short as tells it from the others."""
    config: Path
    checkpoint: Path


def find_runs(words: Sequence[str]) -> list[Run]:
    """Runs from work dirs, and from configs each followed by a checkpoint, in their order.

    Args:
        words: of a command line. A work dir stands for the config that mmengine saved in it and the newest checkpoint.

    Raises:
        FileNotFoundError: a path, or the config or checkpoint of a work dir, is missing.
        ValueError: a work dir has several configs, a config is not followed by a checkpoint, or a run is given twice.
    """
    labels, pairs = [], []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if Path(word).is_dir():
            pairs.append(_of_work_dir(Path(word)))
            labels.append(Path(word).resolve().as_posix())
        else:
            pairs.append(_config_and_checkpoint(word, rest.pop(0) if rest else None))
            labels.append(_without_suffix(Path(word)))
    if len(set(labels)) < len(labels):
        labels = [f'{label}{_without_suffix(checkpoint)}' for label, (_, checkpoint) in zip(labels, pairs, strict=True)]
    if len(set(labels)) < len(labels):
        raise ValueError(f'a run is given twice: {" ".join(words)}; give each once')
    return [Run(name, *pair) for name, pair in zip(short_names(labels), pairs, strict=True)]


def _without_suffix(path: Path) -> str:
    return path.resolve().with_suffix('').as_posix()


def _of_work_dir(work_dir: Path) -> tuple[Path, Path]:
    advice = 'give CONFIG CHECKPOINT in its place'
    configs = sorted(work_dir.glob('*.py'))
    if not configs:
        raise FileNotFoundError(f'the work dir {work_dir} has no config (*.py), which mmengine saves there; {advice}')
    if len(configs) > 1:
        names = ', '.join(path.name for path in configs)
        raise ValueError(f'the work dir {work_dir} has {len(configs)} configs, {names}; {advice}')
    last = work_dir / 'last_checkpoint'
    if not last.is_file():
        raise FileNotFoundError(f'{last} is missing, in which mmengine names the newest checkpoint; {advice}')
    # it names the place of the training, from which the work dir may have been moved
    return configs[0], work_dir / Path(last.read_text().strip()).name


def _config_and_checkpoint(config: str, checkpoint: str | None) -> tuple[Path, Path]:
    if not config.endswith(CONFIG_SUFFIXES):
        raise FileNotFoundError(f'{config} is neither a work dir that is there nor a config')
    if not Path(config).is_file():
        raise FileNotFoundError(f'the config {config} is missing')
    if checkpoint is None or checkpoint.endswith(CONFIG_SUFFIXES) or Path(checkpoint).is_dir():
        found = 'nothing' if checkpoint is None else checkpoint
        raise ValueError(f'the config {config} is followed by {found}; give its checkpoint there')
    return Path(config), Path(checkpoint)


class TrainedSegmentor:
    """A model of mmseg with its weights, and the images of a split of its config.

    Args:
        run: config and checkpoint; nothing that the checkpoint holds is run, see `read_checkpoint`.
        split: ``'val'`` or ``'test'``.
        device: ``'cpu'`` or ``'cuda'``.
        options: what overrides the config.

    Raises:
        FileNotFoundError: the checkpoint, or a file of the data set, is missing.
        ValueError: the config is not of a segmentation, has no such split or no class names, or the checkpoint's
            weights are not of this model.
    """

    def __init__(self, run: Run, split: str, device: str = 'cpu', options: dict[str, Any] | None = None) -> None:
        self.run = run
        config = Config.fromfile(run.config)
        config.merge_from_dict(options or {})
        self.model = _build_model(config, run, device)
        load_weights(self.model, run.checkpoint, run.config)
        loader = config.get(f'{split}_dataloader') or {}
        if 'dataset' not in loader:
            raise ValueError(f'{run.config} has no {split}_dataloader with a dataset; choose another --split')
        self.dataset = DATASETS.build(loader['dataset'])
        self.classes = tuple(self.dataset.metainfo.get('classes') or ())
        if not self.classes:
            raise ValueError(f'the {split} data set of {run.config} has no class names; set its metainfo.classes')
        self.palette = np.array(self.dataset.metainfo['palette'], np.uint8)
        # of a data set of data sets, 255 as everywhere in mmseg
        self.ignore_index = getattr(self.dataset, 'ignore_index', 255)

    def image_paths(self) -> list[str]:
        """Of every image."""
        return [self.dataset.get_data_info(index)['img_path'] for index in range(len(self.dataset))]

    def image_names(self) -> list[str]:
        """Path of every image below the folder of all, without its suffix."""
        paths = self.image_paths()
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
        return [Path(os.path.relpath(path, folder)).with_suffix('').as_posix() for path in paths]

    @torch.no_grad()
    def predict(self, index: int) -> tuple[Array, Array]:
        """True and predicted classes of an image, each (H, W) int32, as in mmseg's test.

        Raises:
            ValueError: the image has no labels, or of another size, or with a class that the data set has not; or such
                a class is predicted.
        """
        sample = self.model.test_step(pseudo_collate([self.dataset[index]]))[0]
        if 'gt_sem_seg' not in sample:
            raise ValueError(f'{self.run.config}: the test pipeline loads no labels, so no error can be shown')
        truth, prediction = (self._numpy(data) for data in (sample.gt_sem_seg, sample.pred_sem_seg))
        if truth.shape != prediction.shape:
            raise ValueError(
                f'{sample.img_path}: the labels are {truth.shape}, the prediction {prediction.shape}; in the test '
                'pipeline, load the labels after the resize, as mmseg does'
            )
        labels = truth[truth != self.ignore_index]
        if labels.size and labels.max() >= len(self.classes):
            raise ValueError(
                f'the labels of {sample.img_path} have class {labels.max()}, but the data set has {len(self.classes)} '
                f'classes; what is no class must be {self.ignore_index}'
            )
        if prediction.max() >= len(self.classes):
            raise ValueError(
                f'{self.run.checkpoint} predicts class {prediction.max()}, but its data set has {len(self.classes)} '
                f'classes; is {self.run.config} its config?'
            )
        return truth, prediction

    @staticmethod
    def _numpy(data: Any) -> Array:
        return data.data[0].cpu().numpy().astype(np.int32)


def _build_model(config: Config, run: Run, device: str) -> BaseSegmentor:
    if 'model' not in config:
        raise ValueError(f'{run.config} has no model; give the config of a segmentation')
    config.model = model_of(config)
    model = init_model(config, device=device)
    if not isinstance(model, BaseSegmentor):
        raise ValueError(f'{run.config} has a {type(model).__name__}, which is no segmentation model of mmseg')
    return model


def check_comparable(segmentors: Sequence[TrainedSegmentor]) -> None:
    """Check that models have the same classes, and the same images in the same order.

    Raises:
        ValueError: they have not; names the configs and what differs.
    """
    first, *others = segmentors
    names = first.image_names()
    for other in others:
        configs = f'{first.run.config} and {other.run.config}'
        if other.classes != first.classes:
            raise ValueError(
                f'{configs} have different classes, {", ".join(first.classes)} and {", ".join(other.classes)}; only '
                'runs with the same classes can be compared'
            )
        theirs = other.image_names()
        if theirs != names:
            differs = sorted(set(names) ^ set(theirs))
            found = f'{differs[0]} is only in one of them' if differs else 'their order differs'
            raise ValueError(
                f'{configs} have different images, {len(names)} and {len(theirs)}, and {found}; only runs with the '
                'same images can be compared'
            )


def find_images(wanted: Sequence[str], paths: Sequence[str]) -> list[int]:
    """Numbers of images by their names, or by as much of the end of their paths as is needed; suffixes may be left out.

    Raises:
        ValueError: no image, or several, with such a name; names similar ones.

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
    """Predict images with several models; those on which they differ most come first, of equals the earlier.

    The names of the images are those of the first model's data set.

    Args:
        segmentors: that pass `check_comparable`.
        images: their numbers.
        kept: at most so many are returned, and kept in memory; by default all.
        on_image: called after each.

    Raises:
        ValueError: see `TrainedSegmentor.predict`; or an image has other labels for one model than for another.
    """
    first = segmentors[0]
    names, paths = first.image_names(), first.image_paths()
    compared: list[ComparedImage] = []
    for number in images:
        truths, predictions = zip(*(segmentor.predict(number) for segmentor in segmentors), strict=True)
        for segmentor, truth in zip(segmentors, truths, strict=True):
            if not np.array_equal(truth, truths[0]):
                raise ValueError(
                    f'{names[number]} has other labels in {segmentor.run.config} than in {first.run.config}; only runs '
                    'with the same labels can be compared'
                )
        compared.append(
            ComparedImage(names[number], paths[number], truths[0], predictions, len(first.classes), first.ignore_index)
        )
        compared = sorted(compared, key=lambda one: -one.disagreement)[:kept]
        on_image()
    return compared
