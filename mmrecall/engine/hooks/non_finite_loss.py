"""End of a training whose loss is not finite."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn

from mmrecall.datasets.class_order import some_of
from mmrecall.engine.hooks.loss_calls import LossCalls, is_softmax_loss
from mmrecall.engine.runner import trained_classes, unwrap_model
from mmrecall.registry import HOOKS, register


@register(HOOKS)
class NonFiniteLossHook(Hook):
    """Hook that stops a training when a loss is not finite ``patience`` times in a row, or a weight is not finite.

    The error, which is also in the log, names the iteration, the terms of the loss that are not finite and their
    values, and for mmrecall's losses the classes whose share of the loss, and whose logits, are not finite. Every
    iteration before the last is a warning with the same text. All ranks stop together, with the same message.

    Patience is of use with a loss scaler alone, which skips the step of a loss that is not finite. Without
    one the first loss that is not finite spoils the weights (or running statistics of a batch norm, which no scaler
    saves), and then the training ends at that iteration, before a checkpoint is written: the last one is good. A
    gradient that the scaler skips while the loss is finite does not count.

    The hook costs, in every iteration, a norm of all weights, and with several ranks an all-reduce of two numbers; it
    reads one result, where mmengine's logging already waits for the device. The logits are
    kept until the iteration ends.

    Args:
        patience: k, at least 1. After 10 skipped steps the scale of a dynamic loss scaler has fallen by 1,000.

    Raises:
        ValueError: ``patience`` is below 1.
        FloatingPointError: in training, on all ranks.

    Example:
        >>> custom_hooks = [dict(type='mmrecall.NonFiniteLossHook')]
    """

    # The hook runs before mmengine's logging waits for the device, and before anything is saved.
    priority = 'HIGHEST'

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise ValueError(f'got patience={patience}; expected a number of iterations of at least 1')
        self.patience = patience

    def before_train(self, runner: Runner) -> None:
        """Begin to watch the losses."""
        model = unwrap_model(runner)
        self._calls = LossCalls(model, is_softmax_loss)
        self._state = dict(_to_watch(model))
        self._in_a_row = 0

    def after_train(self, runner: Runner) -> None:
        """Stop watching the losses."""
        self._calls.remove()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Tensor] | None = None
    ) -> None:
        """Check the loss and the weights."""
        terms = {name: torch.as_tensor(value).detach() for name, value in (outputs or {}).items() if 'loss' in name}
        bad_loss, bad_state = _on_any_rank(terms, list(self._state.values()))
        self._in_a_row = self._in_a_row + 1 if bad_loss else 0
        if bad_loss or bad_state:
            self._report(runner, terms, bad_loss, bad_state)
        self._calls.forget()

    def _report(self, runner: Runner, terms: dict[str, Tensor], bad_loss: bool, bad_state: bool) -> None:
        details = '\n  '.join(self._found_on_all_ranks(runner, terms))
        now = _iteration(runner)
        if not bad_state and self._in_a_row < self.patience:
            message = f'The loss of {now} is not finite; {self.patience} such iterations in a row end the training'
            runner.logger.warning(f'{message}:\n  {details}')
            return
        if not bad_state:
            reason = f'the loss has not been finite for {self._in_a_row} iteration(s)'
        elif bad_loss:
            reason = 'neither the loss nor the weights are finite'
        else:
            reason = 'the weights are not finite, though the loss is: a gradient was not'
        message = f'Training stopped at {now}; {reason}:\n  {details}\n{_advice(runner)}'
        # An exception alone is not in the log.
        runner.logger.error(message)
        raise FloatingPointError(message)

    def _found_on_all_ranks(self, runner: Runner, terms: dict[str, Tensor]) -> list[str]:
        lines = [f'{name} is {float(value)}' for name, value in terms.items() if not math.isfinite(value)]
        lines += self._calls.blame(trained_classes(runner))
        bad = [name for name, tensor in self._state.items() if not tensor.isfinite().all()]
        if bad:
            lines.append(f'{len(bad)} of {len(self._state)} weights and statistics are not finite: {some_of(bad)}')
        found = all_gather_object(lines)
        if len(found) == 1:
            return lines
        return [f'rank {rank}: {line}' for rank, lines in enumerate(found) for line in lines]


def _to_watch(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that must stay finite: all parameters that are trained, and buffers that are finite now."""
    # The buffer of a mask is infinite for a purpose.
    for name, one in itertools.chain(model.named_parameters(), model.named_buffers()):
        if one.requires_grad or (one.is_floating_point() and one.isfinite().all()):
            yield name, one


@torch.no_grad()
def _on_any_rank(terms: dict[str, Tensor], state: list[Tensor]) -> list[bool]:
    """Return, for all ranks together, whether a term of the loss, and whether a weight or statistic, is not finite."""
    device = state[0].device
    values = [value.to(device).float() for value in terms.values()]
    # The largest absolute value; a sum of squares can overflow for weights that are finite.
    norms = torch._foreach_norm([one for one in state if one.numel()], math.inf)
    flags = torch.zeros(2, device=device)
    for flag, numbers in zip(flags, (values, [norm.to(device).float() for norm in norms]), strict=True):
        if numbers:
            flag.copy_(~torch.stack(numbers).isfinite().all())
    all_reduce(flags, 'max')
    return [flag > 0 for flag in flags.tolist()]


def _iteration(runner: Runner) -> str:
    """Return the number of the iteration, from 1 as in the log."""
    epoch = f' (epoch {runner.epoch + 1})' if isinstance(runner.train_loop, EpochBasedTrainLoop) else ''
    return f'iteration {runner.iter + 1}{epoch}'


def _advice(runner: Runner) -> str:
    last = runner.message_hub.runtime_info.get('last_ckpt')
    if last is None:
        return 'There is no checkpoint yet; lower the learning rate, or set clip_grad in the optim_wrapper'
    return f'Resume from {last} with a lower learning rate, or with clip_grad in the optim_wrapper'
