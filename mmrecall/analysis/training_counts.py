"""Class counts of the training set of a config."""

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmrecall.config_files import naming_unknown_types
from mmrecall.datasets import LabelCounts, count_labels


def count_training_set(config: Config, workers: int | None = None, through_pipeline: bool = False) -> LabelCounts:
    """Count the classes of the training set of a config, without the labels that its head ignores.

    Args:
        config: config with a ``train_dataloader``.
        workers: number of processes that read labels; by default that of the loader.
        through_pipeline: see `count_labels`.

    Raises:
        ValueError: a config without training set, or an error of `count_labels`.
    """
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
    with naming_unknown_types(config):
        dataset = DATASETS.build(loader.dataset)
    return count_labels(
        dataset,
        ignore_index,
        head.get('num_classes'),
        workers,
        progress=True,
        through_pipeline=through_pipeline,
    )
