"""Comparison of the classes of a checkpoint with those of the data that it is tested or resumed on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, FlexibleRunner, Runner

from mmrecall.datasets.class_order import check_class_order


class ClassOrderHook(Hook):
    """Hook that compares the class names in a checkpoint with those of the data sets of a runner, when it is loaded.

    Those of a test and of a resumed training are compared. A training with ``load_from`` learns the classes of its own
    data, whatever the checkpoint was trained on.

    Raises:
        ValueError: a data set has the names of the checkpoint in another order.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the class names of the checkpoint and of the data sets, if both have names.

        Different names give only a warning, because classes may have been renamed.
        """
        trained = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')
        if trained is None:
            return
        for classes, loader in _classes_in_use(runner).items():
            check_class_order(
                f'the checkpoint {runner._load_from}',
                trained,
                loader,
                classes,
                'set the classes of its dataset in the order of the checkpoint, and labels that go with it',
                runner.logger.warning,
            )


@contextmanager
def checking_class_order() -> Iterator[None]:
    """Give the runners that are built in a block a `ClassOrderHook`."""
    registering = {kind: kind.register_hooks for kind in (Runner, FlexibleRunner)}

    def register(runner: Runner | FlexibleRunner, *args: Any, **kwargs: Any) -> None:
        registering[Runner if isinstance(runner, Runner) else FlexibleRunner](runner, *args, **kwargs)
        runner.register_hook(ClassOrderHook())

    for kind in registering:
        kind.register_hooks = register
    try:
        yield
    finally:
        for kind, method in registering.items():
            kind.register_hooks = method


def _classes_in_use(runner: Runner | FlexibleRunner) -> dict[tuple[str, ...], str]:
    """Return the class names of the data sets of a test, or of a resumed training, each with the first loader of it."""
    # A loop that is not used is the dict of its config.
    loops = {name: getattr(runner, f'_{name}_loop') for name in ('train', 'val', 'test')}
    if isinstance(loops['train'], BaseLoop) and not runner._resume:
        return {}
    found: dict[tuple[str, ...], str] = {}
    for name, loop in loops.items():
        if isinstance(loop, BaseLoop):
            classes = getattr(loop.dataloader.dataset, 'metainfo', {}).get('classes')
            if classes is not None:
                found.setdefault(tuple(classes), f'{name}_dataloader')
    return found
