"""A runner of mmengine gets the hooks that its losses need."""

import functools
from typing import Any

from mmengine.runner import Runner

from mmrecall.engine.hooks.class_counts import ClassCountsHook, automatic_counts


def install_class_counts_hook() -> None:
    """Make `Runner` add a `ClassCountsHook` of its own accord when its model has a loss that waits for counts.

    The model, whose ``type='mmrecall.…'`` imports this package, is built before the hooks are registered: so one line
    in the config is enough. A hook that the config names is not doubled. Calling this again changes nothing.
    """
    register_hooks = Runner.register_hooks
    if getattr(register_hooks, '_counts_classes', False):
        return

    @functools.wraps(register_hooks)
    def register_hooks_and_count(runner: Runner, *args: Any, **kwargs: Any) -> None:
        register_hooks(runner, *args, **kwargs)
        has_hook = any(isinstance(hook, ClassCountsHook) for hook in runner.hooks)
        if not has_hook and automatic_counts(runner.model):
            runner.register_hook(ClassCountsHook())

    register_hooks_and_count._counts_classes = True
    Runner.register_hooks = register_hooks_and_count
