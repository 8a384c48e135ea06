"""The patience of mmengine's early stopping, which its checkpoints do not hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner


def early_stopping_states(runner: Runner, metrics: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the state of every `EarlyStoppingHook`.

    Args:
        runner: runner of the training.
        metrics: metrics of a validation that the hooks have not seen yet.
    """
    return [
        dict(
            wait_count=hook.wait_count,
            best_score=hook.best_score,
            unseen={name: value for name, value in (metrics or {}).items() if name == hook.monitor},
        )
        for hook in _hooks(runner)
    ]


def restore_early_stopping(runner: Runner, states: Sequence[Mapping[str, Any]]) -> None:
    """Restore the state of every `EarlyStoppingHook`, and pass it the validation that it had not seen."""
    for hook, state in zip(_hooks(runner), states, strict=False):
        hook.wait_count, hook.best_score = state['wait_count'], state['best_score']
        if state['unseen']:
            hook.after_val_epoch(runner, state['unseen'])


def _hooks(runner: Runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]
