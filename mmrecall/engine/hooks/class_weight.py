"""Log of the recall and the weight of every class."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmrecall.engine.hooks.loss_calls import LossCall, LossCalls, is_softmax_loss, is_stock_cross_entropy
from mmrecall.engine.runner import trained_classes, unwrap_model
from mmrecall.functional.batch import num_classes_of
from mmrecall.functional.hard_samples import sum_focal_weights
from mmrecall.functional.recall import class_recall, recall_weights
from mmrecall.functional.statistics import ClassStatistics, unchecked_class_statistics, widest_float
from mmrecall.losses import BaseLoss
from mmrecall.registry import HOOKS, register

# exponent of the hypothetical focal weight; the choice of the recall-loss paper (section IV-D)
_GAMMA = 1.0


class LoggedClasses(NamedTuple):
    """Global counts of the batches that one loss was called with in one iteration; (C,) each."""

    statistics: ClassStatistics
    sample_weight_sums: Tensor
    """Sums of the weights that the loss gives the samples, or of (1 - p)^gamma if it gives none."""


@register(HOOKS)
class ClassWeightHook(Hook):
    """Hook that logs recall and normalised weight of every class, for every loss, to mmengine's visualizer.

    Every ``interval`` iterations, of that iteration's batch on all ranks, a scalar each of

    - ``class_recall/LOSS/CLASS``: the recall TP_c / N_c
    - ``class_running_recall/LOSS/CLASS``: the running recall of a RecallLoss with ``alpha < 1``
    - ``class_share/LOSS/CLASS``: the share of the class among the valid labels
    - ``class_weight/LOSS/CLASS``: the weight that the loss gives the class, in shares of the sum over the classes
      present; of the focal loss the mean of (1 - p_n)^gamma over the samples of the class, of a region loss with
      class weights the share of the class in the mean over the classes
    - ``hypothetical_recall_weight/LOSS/CLASS`` and ``hypothetical_focal_weight/LOSS/CLASS`` instead, if the loss is a
      cross entropy without class weights, of mmrecall or of a toolbox: the weights that the recall loss and the focal
      loss (gamma = 1) would give the class, so that figure 4 of the recall-loss paper (Tian et al., ICRA 2022) comes
      from one run

    LOSS is the name of the module (``decode_head.loss_decode``), CLASS the name in the data set, or the number if it
    has none. A loss with ``use_sigmoid`` and several channels has two classes for each, NAME=0 and NAME=1. Classes that
    are absent from the batch are left out, and so are weights that are all 0. The numbers have 6 digits.
    ``mmrecall compare-runs`` draws them.

    The hook costs a pass over the logits and two small all-reduces, in the iterations that are logged; nothing in the
    others. A compiled model is compiled a second time, for the iterations that are logged. A line of the log has three
    or more numbers a class: with thousands of classes, choose a longer interval.

    Args:
        interval: iterations from one to the next, at least 1.

    Raises:
        ValueError: ``interval`` is below 1.

    Example:
        >>> custom_hooks = [dict(type='mmrecall.ClassWeightHook')]
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f'got interval={interval}; expected a number of iterations, at least 1')
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Begin to watch the losses."""
        self._calls = LossCalls(unwrap_model(runner), _is_watched)
        self._calls.remembering = False

    def after_train(self, runner: Runner) -> None:
        """Stop watching the losses."""
        self._calls.remove()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remember the calls of the losses, if this iteration is logged."""
        self._calls.remembering = self.every_n_train_iters(runner, self.interval)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Write the scalars of this iteration."""
        if not self._calls.remembering:
            return
        watched = {name: loss for name, loss in unwrap_model(runner).named_modules() if _is_watched(loss)}
        found = _over_ranks(list(watched), list(self._calls), runner)
        self._calls.forget()
        classes = trained_classes(runner)
        scalars: dict[str, float] = {}
        for name, counted in found.items():
            for quantity, present, values in _quantities(watched[name], counted):
                names = _names(watched[name], len(values), classes)
                scalars.update(_by_class(f'{quantity}/{name}', present, values, names))
        if scalars:
            # The visualizer of every rank but 0 writes nothing.
            runner.visualizer.add_scalars(scalars, step=runner.iter + 1)


def _is_watched(module: nn.Module) -> bool:
    return is_softmax_loss(module) or is_stock_cross_entropy(module)


@torch.no_grad()
def _over_ranks(names: Sequence[str], calls: Sequence[LossCall], runner: Runner) -> dict[str, LoggedClasses]:
    """Return the global counts of every loss that was called on any rank; a rank without a call adds zeros."""
    calls_of = {name: [call for call in calls if call.name == name] for name in names}
    device = next(unwrap_model(runner).parameters()).device
    num_classes = torch.zeros(len(names), dtype=torch.int64, device=device)
    for index, name in enumerate(names):
        num_classes[index] = max(
            (num_classes_of(call.given[0], _has_sigmoid(call.loss)) for call in calls_of[name]), default=0
        )
    all_reduce(num_classes, 'max')
    counts = {
        name: _count(calls_of[name], number, device)
        for name, number in zip(names, num_classes.tolist(), strict=True)
        if number
    }
    if not counts:
        return {}
    flat = torch.cat([one.flatten() for one in counts.values()])
    all_reduce(flat)
    found = {}
    for name, rows in zip(counts, flat.split([one.numel() for one in counts.values()]), strict=True):
        support, predicted, true_positives, sample_weight_sums = rows.reshape(4, -1)
        found[name] = LoggedClasses(ClassStatistics(support, predicted, true_positives), sample_weight_sums)
    return found


def _count(calls: Sequence[LossCall], num_classes: int, device: torch.device) -> Tensor:
    """Return (4, C) numbers: support, predicted, true positives and weights of samples, summed over the calls."""
    total = torch.zeros(4, num_classes, dtype=widest_float(device), device=device)
    for call in calls:
        batch = call.batch()
        count = call.loss.count if isinstance(call.loss, BaseLoss) else unchecked_class_statistics
        rows = (*count(*batch), _sum_sample_weights(call.loss, *batch))
        total += torch.stack([row.to(total) for row in rows])
    return total


def _sum_sample_weights(loss: nn.Module, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    sums = loss.sum_sample_weights(logits, target, ignore_index) if isinstance(loss, BaseLoss) else None
    return sum_focal_weights(logits, target, _GAMMA, ignore_index, _has_sigmoid(loss)) if sums is None else sums


def _has_sigmoid(loss: nn.Module) -> bool:
    return isinstance(loss, BaseLoss) and loss.use_sigmoid


@torch.no_grad()
def _quantities(loss: nn.Module, counted: LoggedClasses) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of every quantity of a loss, (C,) booleans for the classes that have it, and (C,) values."""
    statistics, support = counted.statistics, counted.statistics.support
    present = support > 0
    yield 'class_recall', present, class_recall(statistics)
    for name, running in loss.running_statistics().items() if isinstance(loss, BaseLoss) else ():
        yield f'class_running_{name}', present, running.flatten()
    yield 'class_share', present, support / support.sum()
    for quantity, weights in _weights(loss, counted):
        weights = weights.to(widest_float(weights.device)) * present
        if weights.sum() > 0:
            yield quantity, present, weights / weights.sum()


def _weights(loss: nn.Module, counted: LoggedClasses) -> Iterator[tuple[str, Tensor]]:
    statistics, sample_weight_sums = counted
    if _is_cross_entropy(loss):
        yield 'hypothetical_recall_weight', recall_weights(statistics)
        yield 'hypothetical_focal_weight', sample_weight_sums / statistics.support.where(statistics.support > 0, 1)
        return
    if isinstance(loss, BaseLoss):
        weights = loss.class_weights(statistics, sample_weight_sums)
    else:
        device = statistics.support.device
        weights = torch.as_tensor(_given_weights(loss), dtype=widest_float(device), device=device)
    if weights is not None:
        yield 'class_weight', weights


def _is_cross_entropy(loss: nn.Module) -> bool:
    """Return whether all samples weigh the same."""
    return loss.is_cross_entropy if isinstance(loss, BaseLoss) else _given_weights(loss) is None


def _given_weights(loss: nn.Module) -> Any:
    """Return the class weights of a toolbox's cross entropy, or of PyTorch's, which has another name for them."""
    return loss.weight if isinstance(loss, nn.CrossEntropyLoss) else loss.class_weight


def _names(loss: nn.Module, num_classes: int, classes: Sequence[str] | None) -> Sequence[str]:
    """Return the names of the classes of a loss, or their numbers."""
    if _has_sigmoid(loss) and num_classes > 2:
        channels = _named(classes, num_classes // 2)
        return [f'{channel}={label}' for channel in channels for label in (0, 1)]
    return _named(classes, num_classes)


def _named(classes: Sequence[str] | None, number: int) -> Sequence[str]:
    named = classes is not None and len(classes) == number == len(set(classes))
    return classes if named else [str(one) for one in range(number)]


def _by_class(prefix: str, present: Tensor, values: Tensor, names: Sequence[str]) -> dict[str, float]:
    numbers = present.nonzero().flatten().tolist()
    return {
        f'{prefix}/{names[number]}': float(f'{value:.6g}')
        for number, value in zip(numbers, values[present].tolist(), strict=True)
    }
