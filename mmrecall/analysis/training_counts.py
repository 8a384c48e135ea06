"""Class counts of the training set of a config."""

from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmrecall.config_files import naming_mistakes
from mmrecall.datasets import ImageCounts, LabelCounts, count_images, count_labels


def count_training_set(config: Config, workers: int | None = None, through_pipeline: bool = False) -> LabelCounts:
    """Count the classes of the training set of a config, without the labels that its head ignores.

    Args:
        config: config with a ``train_dataloader``.
        workers: number of processes that read labels; by default that of the loader.
        through_pipeline: see `count_labels`.

    Raises:
        ValueError: a config without training set, or an error of `count_labels`.
    """
    dataset, options = _training_set(config, workers)
    return count_labels(dataset, **options, through_pipeline=through_pipeline)


def count_images_of_training_set(config: Config, workers: int | None = None) -> ImageCounts:
    """Count the classes of every image in the training set of a config, for `RareClassSampler`.

    Labels that the data set ignores are not counted. Labels that only a head ignores are counted, because a sampler
    does not know the head.

    Args:
        config: config with a ``train_dataloader``.
        workers: number of processes that read labels; by default that of the loader.

    Raises:
        ValueError: a config without training set, or an error of `count_images`.
    """
    dataset, options = _training_set(config, workers)
    return count_images(dataset, **dict(options, ignore_index=None, num_classes=None))


def _training_set(config: Config, workers: int | None) -> tuple[Any, dict[str, Any]]:
    """Return the training set of a config, and the options of `count_labels` for it."""
    if 'train_dataloader' not in config:
        raise ValueError(f'{config.filename} has no train_dataloader; expected a config with a training set')
    if config.get('default_scope'):
        init_default_scope(config.default_scope)
    loader = config.train_dataloader
    workers = loader.get('num_workers', 0) if workers is None else workers
    model = config.get('model', {})
    head, ignore_index = model.get('head') or {}, None
    if model.get('decode_head') is not None:
        # The last head of a cascade predicts; 255 is mmseg's default.
        head = model.decode_head[-1] if isinstance(model.decode_head, list) else model.decode_head
        ignore_index = head.get('ignore_index', 255)
    with naming_mistakes(config):
        dataset = DATASETS.build(loader.dataset)
    return dataset, dict(
        ignore_index=ignore_index, num_classes=head.get('num_classes'), num_workers=workers, progress=True
    )
