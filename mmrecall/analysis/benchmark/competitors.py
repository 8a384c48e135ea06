"""What is measured: this package's losses, the toolboxes', and what one would write without either."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrecall import losses
from mmrecall.analysis.benchmark.batches import Batch
from mmrecall.analysis.benchmark.measure import Step
from mmrecall.functional.backends import reference
from mmrecall.functional.recall import recall_weights
from mmrecall.functional.statistics import ClassStatistics
from mmrecall.upstream import require

REFERENCE = 'F.cross_entropy'
COPY = 'copy of the logits'
NAIVE = 'naive recall'
PLAIN = 'plain recall'

Loss = Callable[[Tensor, Tensor], Tensor]


class Competitor(NamedTuple):
    """A way to compute a loss."""

    name: str
    group: str
    """Whose it is: PyTorch, mmrecall, mmseg, mmpretrain."""
    make_step: Callable[[Batch], Step]
    """Gives the call that is timed: forward and backward."""

    def fits(self, batch: Batch) -> bool:
        """Whether it is made for such a shape: mmseg's losses for (N, C, H, W), mmpretrain's for (N, C)."""
        return self.group != ('mmpretrain' if batch.dense else 'mmseg')


def all_competitors() -> list[Competitor]:
    """Everything that takes class scores and class indices."""
    return [
        Competitor(REFERENCE, 'PyTorch', _steps(_with_ignored(F.cross_entropy))),
        Competitor(COPY, 'PyTorch', lambda batch: batch.logits.clone),
        Competitor(NAIVE, 'PyTorch', _steps(_with_ignored(naive_recall))),
        Competitor(PLAIN, 'mmrecall', _steps(_with_ignored(plain_recall))),
        *(_entry('mmrecall', entry) for entry in _own()),
        *(_entry('mmseg', entry) for entry in _MMSEG),
        Competitor('mmseg.OhemCrossEntropy, called directly', 'mmseg', _steps(_direct_ohem)),
        *(_entry('mmpretrain', entry) for entry in _MMPRETRAIN),
    ]


def choose(patterns: Sequence[str] | None) -> list[Competitor]:
    """Those whose names match a pattern of the shell, and always the reference, F.cross_entropy.

    Raises:
        ValueError: a pattern that no name matches.

    Example:
        >>> [competitor.name for competitor in choose(['mmrecall.Soft*Dice*', 'naive*'])]
        ['F.cross_entropy', 'naive recall', 'mmrecall.SoftDiceLoss']
    """
    everything = all_competitors()
    if patterns is None:
        return everything
    for pattern in patterns:
        if not any(fnmatchcase(competitor.name, pattern) for competitor in everything):
            names = ', '.join(repr(competitor.name) for competitor in everything)
            raise ValueError(f'--losses {pattern!r} matches none; patterns such as "mmseg.*" are matched with {names}')
    wanted = [REFERENCE, *patterns]
    return [one for one in everything if any(fnmatchcase(one.name, pattern) for pattern in wanted)]


# COUNTS stands for the class counts of the batch, CLASSES for their number
COUNTS, CLASSES = object(), object()
# name, options that the name is shown with, other options
Entry = tuple[str, dict[str, Any], dict[str, Any]]
# of mmseg's, BoundaryLoss (edges), SiLogLoss (depth) and KLDivLoss (a second set of scores) take other things; of
# mmpretrain's, those for self-supervised training and regression
_MMSEG: list[Entry] = [
    ('CrossEntropyLoss', {}, {}),
    ('CrossEntropyLoss', dict(avg_non_ignore=True), {}),
    ('CrossEntropyLoss', dict(class_weight=COUNTS), {}),
    ('FocalLoss', {}, {}),
    ('DiceLoss', dict(use_sigmoid=False), {}),
    ('TverskyLoss', {}, {}),
    ('LovaszLoss', dict(reduction='none'), {}),
    ('LovaszLoss', dict(per_image=True), {}),
    ('HuasdorffDisstanceLoss', {}, {}),
    ('OhemCrossEntropy', {}, {}),
]
_MMPRETRAIN: list[Entry] = [
    ('CrossEntropyLoss', {}, {}),
    ('CrossEntropyLoss', dict(class_weight=COUNTS), {}),
    ('FocalLoss', {}, {}),
    ('AsymmetricLoss', {}, {}),
    ('LabelSmoothLoss', {}, dict(label_smooth_val=0.1)),
    ('SeesawLoss', {}, dict(num_classes=CLASSES)),
]


def _own() -> list[Entry]:
    """The forms of every loss of logits, each with the counts and the number of classes that it takes."""
    found = []
    for name in losses.__all__:
        cls = getattr(losses, name)
        if not isinstance(cls, type) or not issubclass(cls, losses.BaseLoss) or cls is losses.BaseLoss:
            continue
        if name != cls.__name__:
            continue
        for options in cls.variants:
            # a scheme of weights is what the loss is measured with, not a form of its own
            shown = {key: value for key, value in options.items() if key != 'class_weight'}
            found.append((name, shown, {**options, **_needed(cls, options)}))
    return found


def _needed(cls: type[torch.nn.Module], options: dict[str, Any]) -> dict[str, Any]:
    """Options that the loss cannot do without: class counts, or for a running recall the number of classes."""
    needed = dict(class_counts=COUNTS) if 'class_counts' in inspect.signature(cls).parameters else {}
    return {**needed, 'num_classes': CLASSES} if 'alpha' in options else needed


def naive_recall(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """The recall loss as one would write it: argmax, two counts, a weighted cross entropy."""
    num_classes = logits.shape[1]
    valid = target != ignore_index
    hits = valid & (logits.argmax(dim=1) == target)
    support = torch.bincount(target[valid], minlength=num_classes)
    true_positives = torch.bincount(target[hits], minlength=num_classes)
    weights = (1 - true_positives / support.clamp(min=1)).to(logits.dtype)
    return F.cross_entropy(logits, target, weights, ignore_index=ignore_index, reduction='sum') / valid.sum()


def plain_recall(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Compute the recall loss by the reference backend, which is used where the fused pass is not possible."""
    loss_sum, support, true_positives, _ = reference.class_sums(logits, target, ignore_index)
    weights = recall_weights(ClassStatistics(support, None, true_positives))
    return torch.dot(weights.to(loss_sum.dtype), loss_sum) / support.sum()


def _with_ignored(function: Callable[..., Tensor]) -> Callable[[Batch], Loss]:
    return lambda batch: partial(function, ignore_index=batch.ignore_index)


def _steps(build: Callable[[Batch], Loss]) -> Callable[[Batch], Step]:
    """From what builds a loss for a batch to what makes its step."""

    def make_step(batch: Batch) -> Step:
        loss = build(batch)
        logits = batch.logits.detach().requires_grad_()

        def step() -> None:
            value = loss(logits, batch.target)
            # mmengine takes the mean of what is no scalar
            torch.autograd.grad(value.mean() if value.ndim else value, logits)

        return step

    return make_step


def _entry(group: str, entry: Entry) -> Competitor:
    name, shown, others = entry

    def build(batch: Batch) -> Loss:
        options = _filled({**shown, **others}, batch)
        return _as_called_by_a_head(_loss_class(group, name)(**options), batch)

    return Competitor(f'{group}.{name}{_shown(shown)}', group, _steps(build))


def _direct_ohem(batch: Batch) -> Loss:
    return _loss_class('mmseg', 'OhemCrossEntropy')()


def _loss_class(group: str, name: str) -> type[torch.nn.Module]:
    if group != 'mmrecall':
        require(f'{group}.models')
    return getattr(importlib.import_module(f'{group}.models.losses'), name)


def _filled(options: dict[str, Any], batch: Batch) -> dict[str, Any]:
    values = {COUNTS: batch.counts, CLASSES: len(batch.counts)}
    return {name: values.get(value, value) for name, value in options.items()}


def _shown(options: dict[str, Any]) -> str:
    parts = [name if value is COUNTS else f'{name}={value!r}' for name, value in options.items()]
    return f'({", ".join(parts)})' if parts else ''


def _as_called_by_a_head(loss: torch.nn.Module, batch: Batch) -> Loss:
    """With the arguments of mmseg's decode heads, or of mmpretrain's classification heads."""
    loss = loss.to(batch.logits.device)
    if batch.dense:
        return lambda logits, target: loss(logits, target, weight=None, ignore_index=batch.ignore_index)
    return lambda logits, target: loss(logits, target, avg_factor=len(target))
