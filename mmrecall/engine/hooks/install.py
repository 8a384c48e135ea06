"""Hooks and checks that every Runner of mmengine gets, because its losses need them."""

import functools
from typing import Any

from mmengine.runner import BaseLoop, FlexibleRunner, Runner
from torch import nn

from mmrecall.engine.hooks.class_counts_hook import ClassCountsHook, automatic_counts, named_counts
from mmrecall.engine.hooks.loss_checks import check_losses
from mmrecall.engine.hooks.skipped_step import SkippedStepHook, running_recalls

# each hook with a function that lists the parts of a model which need it
_NEEDED = ((ClassCountsHook, automatic_counts), (ClassCountsHook, named_counts), (SkippedStepHook, running_recalls))


def install_hooks_of_losses() -> None:
    """Make every `Runner` add the hooks that the losses of its model need, and check the losses before training.

    These are `ClassCountsHook` for a loss with ``class_counts='auto'`` or with a file of counts that has class names,
    and `SkippedStepHook` for a loss with a running recall. The model, whose ``type='mmrecall.…'`` imports this package,
    is built before the hooks are registered, so one line in the config is enough. A hook that the config names is not
    added twice. Calling this again changes nothing.

    Training begins with `check_losses`; a test does not need it. A `FlexibleRunner` builds its model only when training
    or testing starts, and gets the hooks and checks then.
    """
    register_hooks, train = Runner.register_hooks, Runner.train
    load_or_resume = FlexibleRunner.load_or_resume
    if getattr(register_hooks, '_adds_hooks_of_losses', False):
        return

    @functools.wraps(register_hooks)
    def register_hooks_and_more(runner: Runner, *args: Any, **kwargs: Any) -> None:
        register_hooks(runner, *args, **kwargs)
        _add_hooks(runner)

    @functools.wraps(train)
    def check_and_train(runner: Runner, *args: Any, **kwargs: Any) -> nn.Module:
        check_losses(runner)
        return train(runner, *args, **kwargs)

    # load_or_resume is the first call after the strategy has built the model
    @functools.wraps(load_or_resume)
    def check_and_load(runner: FlexibleRunner) -> None:
        _add_hooks(runner)
        # a test builds no training loop of its config
        if isinstance(runner._train_loop, BaseLoop):
            check_losses(runner)
        load_or_resume(runner)

    register_hooks_and_more._adds_hooks_of_losses = True
    Runner.register_hooks, Runner.train = register_hooks_and_more, check_and_train
    FlexibleRunner.load_or_resume = check_and_load


def _add_hooks(runner: Runner | FlexibleRunner) -> None:
    for hook, needs_it in _NEEDED:
        if needs_it(runner.model) and not any(isinstance(one, hook) for one in runner.hooks):
            runner.register_hook(hook())
