"""Class counts of the training set, for losses with ``class_counts='auto'``."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmrecall.datasets import LabelCounts, count_labels, data_key
from mmrecall.datasets.class_order import check_class_order, some_of
from mmrecall.engine.runner import trained_classes
from mmrecall.losses import ClassCounts
from mmrecall.rank_zero import run_on_rank_zero
from mmrecall.registry import HOOKS, register


@register(HOOKS)
class ClassCountsHook(Hook):
    """Hook that fills every ``class_counts='auto'`` of the model before training, and checks the class names of files.

    Rank 0 counts the training set, with as many workers as the training's loader, and all ranks get the result. The
    counts are kept in the work directory (``class_counts-….json``, the format of
    ``mmrecall class-statistics``) and used again as long as the data set and its label files are the
    same. A resumed training uses the counts of the checkpoint; one with only ``load_from`` counts again, because its
    data may differ.

    Pixels that the decode head ignores are not counted.

    The class names in a file of counts are compared with those of the training set; other names give a warning.

    A runner of mmengine adds this hook by itself.

    Args:
        through_pipeline: whether to count the labels after all transforms of the training pipeline, for transforms
            that edit labels. Such counts depend on random crops, and are not kept in the work directory.

    Raises:
        ValueError: the loss and the data set differ in the number of classes, a file of counts has the class names of
            the data set in another order, or `count_labels` refuses the data set.
        RuntimeError: on the other ranks, if counting failed on rank 0.
    """

    def __init__(self, through_pipeline: bool = False) -> None:
        self.through_pipeline = through_pipeline

    def before_train(self, runner: Runner) -> None:
        """Count the classes, or read their counts, and give them to the losses."""
        _check_names(runner)
        waiting = automatic_counts(runner.model)
        if not waiting or (runner._resume and all(module.known for module in waiting)):
            return
        names = trained_classes(runner)
        if names is not None:
            _check_length(waiting, names)
        found = run_on_rank_zero(lambda on_progress: self._read_or_count(runner, on_progress), 'counting the classes')
        _check_length(waiting, found.classes)
        _warn_of_empty_classes(runner, found)
        for module in waiting:
            module.set(found.counts, found.image_totals)

    def _read_or_count(self, runner: Runner, on_progress: Callable[[], None]) -> LabelCounts:
        loader = runner.train_dataloader
        ignore_index = _ignore_index(runner.model)
        key = None if self.through_pipeline else data_key(loader.dataset, ignore_index, on_progress)
        path = Path(runner.work_dir) / f'class_counts-{key[:16]}.json' if key else None
        if path is not None and path.is_file():
            runner.logger.info(f'Class counts of {path}')
            return LabelCounts.read(path)
        runner.logger.info('Counting the classes of the training set')
        num_classes = automatic_counts(runner.model)[0].num_classes
        found = count_labels(
            loader.dataset,
            ignore_index,
            num_classes,
            loader.num_workers,
            progress=True,
            on_progress=on_progress,
            through_pipeline=self.through_pipeline,
        )
        runner.logger.info(f'Class counts: {dict(zip(found.classes, found.counts, strict=True))}')
        if path is not None:
            found.write(path)
        return found


def automatic_counts(model: nn.Module) -> list[ClassCounts]:
    """Return the ``class_counts='auto'`` of all losses of a model."""
    return [module for module in model.modules() if isinstance(module, ClassCounts) and module.automatic]


def named_counts(model: nn.Module) -> list[ClassCounts]:
    """Return the class counts of all losses of a model that came with class names."""
    return [
        module for module in model.modules() if isinstance(module, ClassCounts) and module.counted_names is not None
    ]


def _check_names(runner: Runner) -> None:
    named = named_counts(runner.model)
    classes = trained_classes(runner) if named else None
    for module in named if classes is not None else ():
        check_class_order(
            module.source,
            module.counted_names,
            'the training set',
            classes,
            'count the training set again with `mmrecall class-statistics`',
            runner.logger.warning,
        )


def _check_length(waiting: list[ClassCounts], classes: Sequence[str]) -> None:
    for module in waiting:
        if module.num_classes != len(classes):
            raise ValueError(
                f'a loss has num_classes={module.num_classes}, but the training set has {len(classes)} classes: '
                f'{list(classes)}'
            )


def _warn_of_empty_classes(runner: Runner, found: LabelCounts) -> None:
    empty = [name for name, count in zip(found.classes, found.counts, strict=True) if not count]
    if empty:
        runner.logger.warning(
            f'{len(empty)} of {len(found.counts)} classes are not in the training set: {some_of(empty)}. Is it the '
            'right list, and are all of its classes in the part that is taken? Published lists are sorted by class'
        )


def _ignore_index(model: nn.Module) -> int | None:
    """Return the ignored label of the decode heads, or else of the losses, that wait for counts."""
    waiting = [module for module in model.modules() if automatic_counts(module)]
    heads = [module for module in waiting if hasattr(module, 'loss_decode')]
    found = {module.ignore_index for module in heads or waiting if hasattr(module, 'ignore_index')}
    # The default of the losses says nothing about the data.
    found -= {-100}
    if len(found) > 1:
        raise ValueError(
            f"heads with class_counts='auto' have different ignore_index: {sorted(found)}; one count cannot serve them "
            'all, give class_counts a file or a list each'
        )
    return found.pop() if found else None
