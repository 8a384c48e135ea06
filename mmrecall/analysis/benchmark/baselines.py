"""The losses that are measured: this package's, and as baselines those of PyTorch, mmseg and mmpretrain."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrecall import losses
from mmrecall.analysis.benchmark.inputs import LossInput, as_entries
from mmrecall.analysis.benchmark.measure import Step
from mmrecall.functional.backends import reference
from mmrecall.functional.batch import Batch
from mmrecall.functional.recall import recall_weights
from mmrecall.functional.statistics import ClassStatistics
from mmrecall.upstream import require

REFERENCE = 'F.cross_entropy'
SIGMOID_REFERENCE = 'F.binary_cross_entropy_with_logits'
COPY = 'copy of the logits'
NAIVE = 'naive recall'
# Measured by default on a GPU: no loss that takes a hundred times as long as the others.
GPU_LOSSES = (
    *(REFERENCE, COPY, NAIVE, 'plain recall', 'mmrecall.[!L]*', 'mmrecall.LDAMLoss', 'mmrecall.LogitAdjustedLoss'),
    *('mmseg.CrossEntropyLoss', 'mmpretrain.CrossEntropyLoss'),
)

# Options of a loss with these values get the class counts of the input, and the number of classes.
COUNTS, CLASSES = object(), object()

Loss = Callable[[Tensor, Tensor], Tensor]


class Candidate(NamedTuple):
    """A loss to be measured, or a copy of the logits to compare it with."""

    name: str
    group: str
    """``'PyTorch'``, ``'mmrecall'``, ``'mmseg'`` or ``'mmpretrain'``."""
    make_step: Callable[[LossInput], Step]
    """Function that returns the call to be timed: a forward and a backward pass over the input."""

    def fits(self, given: LossInput) -> bool:
        """Return whether the loss accepts a shape; mmseg's losses accept (N, C, H, W) and mmpretrain's (N, C)."""
        if self.name == COPY and given.low_resolution:
            return False
        return self.group != ('mmpretrain' if given.dense else 'mmseg')


def all_candidates() -> list[Candidate]:
    """Return every loss of class scores and class indices.

    Other losses of the toolboxes have other arguments: mmseg's BoundaryLoss (edges), SiLogLoss (depth) and KLDivLoss (a
    second set of scores), and mmpretrain's for self-supervised training and regression.
    """
    return [
        Candidate(REFERENCE, 'PyTorch', _steps(_with_ignored(F.cross_entropy))),
        Candidate(COPY, 'PyTorch', lambda given: given.logits.clone),
        Candidate(NAIVE, 'PyTorch', _steps(_with_ignored(naive_recall))),
        Candidate('plain recall', 'mmrecall', _steps(_with_ignored(plain_recall))),
        *_of_sigmoids(Candidate(SIGMOID_REFERENCE, 'PyTorch', _steps(_binary_cross_entropy))),
        *_losses_of_this_package(),
        _module('mmseg', 'CrossEntropyLoss'),
        _module('mmseg', 'CrossEntropyLoss', avg_non_ignore=True),
        _module('mmseg', 'CrossEntropyLoss', class_weight=COUNTS),
        _module('mmseg', 'FocalLoss'),
        _module('mmseg', 'DiceLoss', use_sigmoid=False),
        _module('mmseg', 'TverskyLoss'),
        _module('mmseg', 'LovaszLoss', reduction='none'),
        _module('mmseg', 'LovaszLoss', per_image=True),
        _module('mmseg', 'HuasdorffDisstanceLoss'),
        _module('mmseg', 'OhemCrossEntropy'),
        Candidate(
            'mmseg.OhemCrossEntropy, called directly',
            'mmseg',
            _steps(lambda given: _loss_class('mmseg', 'OhemCrossEntropy')()),
        ),
        _module('mmpretrain', 'CrossEntropyLoss'),
        _module('mmpretrain', 'CrossEntropyLoss', class_weight=COUNTS),
        _module('mmpretrain', 'FocalLoss'),
        _module('mmpretrain', 'AsymmetricLoss'),
        _module('mmpretrain', 'LabelSmoothLoss', dict(label_smooth_val=0.1)),
        _module('mmpretrain', 'SeesawLoss', dict(num_classes=CLASSES)),
    ]


def choose_candidates(patterns: Sequence[str] | None) -> list[Candidate]:
    """Return the losses whose names match a pattern of the shell, and always the reference, F.cross_entropy.

    Raises:
        ValueError: a pattern that no name matches.

    Example:
        >>> [candidate.name for candidate in choose_candidates(['mmrecall.SoftDiceLoss', 'naive*'])]
        ['F.cross_entropy', 'naive recall', 'mmrecall.SoftDiceLoss']
    """
    everything = all_candidates()
    if patterns is None:
        return everything
    for pattern in patterns:
        if not any(fnmatchcase(one.name, pattern) for one in everything):
            names = ', '.join(repr(one.name) for one in everything)
            raise ValueError(f'got --losses {pattern!r}; expected a name, or a pattern such as "mmseg.*", of {names}')
    return [one for one in everything if any(fnmatchcase(one.name, pattern) for pattern in (REFERENCE, *patterns))]


def _losses_of_this_package() -> Iterator[Candidate]:
    """Yield every variant of every loss of logits, with the counts and the number of classes that it needs."""
    for name in losses.__all__:
        cls = getattr(losses, name)
        if not (isinstance(cls, type) and issubclass(cls, losses.BaseLoss)) or cls is losses.BaseLoss:
            continue
        if name != cls.__name__:  # A loss may have a second name.
            continue
        for options in cls.variants:
            needs_counts = 'class_weight' in options or 'class_counts' in inspect.signature(cls).parameters
            needed = dict(class_counts=COUNTS) if needs_counts else {}
            if 'alpha' in options:
                needed['num_classes'] = CLASSES
            # An option of every variant is no part of the name.
            shown = {key: value for key, value in options.items() if not all(key in one for one in cls.variants)}
            found = _module('mmrecall', name, {**options, **needed}, **shown)
            yield from _of_sigmoids(found) if options.get('use_sigmoid') else [found]


def naive_recall(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Compute the recall loss with PyTorch's functions: argmax, two counts, a weighted cross entropy."""
    num_classes = logits.shape[1]
    valid = target != ignore_index
    hits = valid & (logits.argmax(dim=1) == target)
    support = torch.bincount(target[valid], minlength=num_classes)
    true_positives = torch.bincount(target[hits], minlength=num_classes)
    weights = (1 - true_positives / support.clamp(min=1)).to(logits.dtype)
    return F.cross_entropy(logits, target, weights, ignore_index=ignore_index, reduction='sum') / valid.sum()


def plain_recall(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Compute the recall loss by the reference backend, which is used where the fused pass is not possible."""
    sums = reference.class_sums(Batch(logits, target, ignore_index), hits=True)
    weights = recall_weights(ClassStatistics(sums.support, None, sums.true_positives))
    return torch.dot(weights.to(sums.losses.dtype), sums.losses) / sums.support.sum()


def _of_sigmoids(candidate: Candidate) -> Iterator[Candidate]:
    """Yield a loss of sigmoids for all channels, as in a multi-label task, and for one, as in a binary task."""
    yield candidate._replace(make_step=lambda given: candidate.make_step(as_entries(given)))
    yield candidate._replace(
        name=f'{candidate.name}, one channel', make_step=lambda given: candidate.make_step(as_entries(given, 1))
    )


def _binary_cross_entropy(given: LossInput) -> Loss:
    """Return PyTorch's loss of floats that are at hand; it can ignore none, and takes those for label 0."""
    labels = (given.target == 1).to(given.logits.dtype)
    return lambda logits, _: F.binary_cross_entropy_with_logits(logits, labels)


def _with_ignored(function: Callable[..., Tensor]) -> Callable[[LossInput], Loss]:
    return lambda given: partial(function, ignore_index=given.ignore_index)


def _steps(build: Callable[[LossInput], Loss], upsamples: bool = False) -> Callable[[LossInput], Step]:
    """Return a function that makes the step of the loss that ``build`` returns for an input.

    Logits of a low resolution are interpolated first, unless the loss ``upsamples`` by itself.
    """

    def make_step(given: LossInput) -> Step:
        loss = build(given)
        logits = given.logits.detach().requires_grad_()
        size = given.label_size if given.low_resolution and not upsamples else None
        # A head interpolates and calls its losses under autocast. A step of a full size is the loss alone.
        autocast = given.low_resolution and logits.dtype != torch.float32

        def step() -> None:
            with torch.autocast(logits.device.type, logits.dtype if autocast else None, enabled=autocast):
                full = logits if size is None else F.interpolate(logits, size, mode='bilinear', align_corners=False)
                value = loss(full, given.target)
            # A loss may have several values, of which mmengine takes the mean.
            torch.autograd.grad(value.mean() if value.ndim else value, logits)

        return step

    return make_step


def _module(group: str, name: str, hidden: dict[str, Any] | None = None, **shown: Any) -> Candidate:
    """Return a loss of a package, with options that its name shows and others."""
    options = {**shown, **(hidden or {})}

    def build(given: LossInput) -> Loss:
        values = {COUNTS: given.counts, CLASSES: len(given.counts)}
        loss = _loss_class(group, name)(**{key: values.get(value, value) for key, value in options.items()})
        loss = loss.to(given.logits.device)
        # The arguments are those of mmseg's decode heads, and of mmpretrain's classification heads.
        if given.dense:
            call = dict(weight=None, ignore_index=given.ignore_index)
            call |= dict(upsample='bilinear') if given.low_resolution and group == 'mmrecall' else {}
            return lambda logits, target: loss(logits, target, **call)
        return lambda logits, target: loss(logits, target, avg_factor=len(target))

    parts = [key if value is COUNTS else f'{key}={value!r}' for key, value in shown.items()]
    return Candidate(
        f'{group}.{name}' + (f'({", ".join(parts)})' if parts else ''), group, _steps(build, group == 'mmrecall')
    )


def _loss_class(group: str, name: str) -> type[torch.nn.Module]:
    if group != 'mmrecall':
        require(f'{group}.models')
    return getattr(importlib.import_module(f'{group}.models.losses'), name)
