"""Calls of the losses of a model: their arguments, and the classes that made a loss not finite."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmrecall.datasets.class_order import some_of
from mmrecall.functional.batch import Batch, interpolated, is_low_resolution
from mmrecall.losses import BaseLoss

# arguments of a loss of this package for logits that are to be interpolated
UPSAMPLING = ('upsample', 'align_corners')


class LossCall(NamedTuple):
    """Call of a loss."""

    name: str
    """Name of the module in the model."""
    loss: nn.Module
    args: tuple
    kwargs: dict[str, Any]
    value: Tensor

    def arguments(self) -> dict[str, Any]:
        """Return the arguments by the names that the loss gives them, and those that it takes as ``**kwargs``."""
        signature = inspect.signature(self.loss.forward)
        arguments = dict(signature.bind(*self.args, **self.kwargs).arguments)
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name, {}))
        return arguments

    @property
    def given(self) -> tuple[Any, Any]:
        """Logits and target, the first two arguments of the call, whatever their names; None for one not passed."""
        logits, target = (*self.arguments().values(), None, None)[:2]
        return logits, target

    def batch(self) -> tuple[Tensor, Tensor, int]:
        """Return logits of the size of the target, the target and the index that is ignored.

        Logits that the loss was to interpolate are interpolated by every call of this method.
        """
        ignore_index = self.arguments().get('ignore_index')
        if ignore_index is None:
            # OhemCrossEntropy of mmseg has another name for the index.
            ignore_index = getattr(self.loss, 'ignore_index', getattr(self.loss, 'ignore_label', -100))
        logits, target = interpolated(self._as_batch())[:2]
        if isinstance(self.loss, BaseLoss):
            target = self.loss.as_soft_labels(logits, target)
        return logits, target, ignore_index

    @property
    def takes_class_indices(self) -> bool:
        """Whether the loss was called with logits of several classes, and a class index for each sample."""
        logits, target = self.given
        if not (isinstance(logits, Tensor) and isinstance(target, Tensor)) or logits.ndim < 2 or logits.shape[1] < 2:
            return False
        # Logits that are to be interpolated stand for samples of the size of the target.
        sizes = target.shape[-2:] if is_low_resolution(self._as_batch()) else logits.shape[2:]
        return not target.is_floating_point() and tuple(target.shape) == (logits.shape[0], *sizes)

    def _as_batch(self) -> Batch:
        """Return the batch of the call, with the interpolation that the call or the loss asks for."""
        upsample, align_corners = (self._option(name) for name in UPSAMPLING)
        return Batch(*self.given, upsample=upsample, align_corners=bool(align_corners))

    def _option(self, name: str) -> Any:
        if not isinstance(self.loss, BaseLoss):
            return None
        given = self.arguments().get(name)
        return getattr(self.loss, name, None) if given is None else given


def is_softmax_loss(module: nn.Module) -> bool:
    """Return whether a module is a loss of this package."""
    return isinstance(module, BaseLoss)


def is_stock_cross_entropy(module: nn.Module) -> bool:
    """Return whether a module is the softmax cross entropy of mmseg, mmpretrain or PyTorch."""
    other = getattr(module, 'use_sigmoid', False) or getattr(module, 'use_mask', False)
    return type(module).__name__ == 'CrossEntropyLoss' and not other


class LossCalls:
    """Calls of losses in training, remembered with their arguments but without a copy of them.

    A model that is compiled keeps the forward hooks of its first call, so create this before.

    Args:
        model: the model with the losses.
        chosen: whether a module of the model is to be watched.
    """

    def __init__(self, model: nn.Module, chosen: Callable[[nn.Module], bool]) -> None:
        self.remembering = True
        self._calls: list[LossCall] = []
        self._handles = [
            module.register_forward_hook(partial(self._remember, name), with_kwargs=True)
            for name, module in model.named_modules()
            if chosen(module)
        ]

    def _remember(self, name: str, loss: nn.Module, args: tuple, kwargs: dict[str, Any], value: Tensor) -> None:
        if self.remembering and loss.training and torch.is_grad_enabled():
            # With its graph, a tensor would keep every tensor that led to it.
            args, kwargs = tuple(map(_detached, args)), {key: _detached(one) for key, one in kwargs.items()}
            self._calls.append(LossCall(name, loss, args, kwargs, value.detach()))

    def __iter__(self) -> Iterator[LossCall]:
        return iter(self._calls)

    def forget(self) -> None:
        """Drop the calls, and with them their tensors."""
        self._calls.clear()

    def remove(self) -> None:
        """Drop the calls, and stop watching."""
        self.forget()
        for handle in self._handles:
            handle.remove()

    def blame(self, classes: Sequence[str] | None) -> list[str]:
        """Return a line for every call whose loss is not finite, with the classes that made it so."""
        return [_blame(call, classes) for call in self._calls if not call.value.isfinite().all()]


def _detached(argument: Any) -> Any:
    return argument.detach() if isinstance(argument, Tensor) else argument


def _blame(call: LossCall, classes: Sequence[str] | None) -> str:
    where = f'{call.name} ({type(call.loss).__name__})'
    try:
        in_loss = call.loss.nonfinite_classes(**call.arguments())
    # Bad labels that a GPU has not reported yet are reported now.
    except ValueError as error:
        return f'{where}: {error}'
    found = []
    if in_loss.any():
        found.append(f'the loss of {_names(in_loss, classes)}')
    in_logits = non_finite_channels(call.arguments()['logits'])
    if in_logits.any():
        found.append(f'the logits of {_names(in_logits, classes)}')
    return f'{where} is not finite in {" and ".join(found) or "the sum alone"}'


def non_finite_channels(logits: Tensor) -> Tensor:
    """Return (C,) booleans: whether a logit of the class is not finite."""
    return ~logits.isfinite().transpose(0, 1).flatten(1).all(dim=1)


def _names(chosen: Tensor, classes: Sequence[str] | None) -> str:
    if len(chosen) == 1:
        return 'the only channel'
    if chosen.all():
        return f'all {len(chosen)} classes'
    numbers = chosen.nonzero().flatten().tolist()
    if classes is None or len(classes) != len(chosen):
        return f'class {some_of([str(number) for number in numbers])}'
    return f'class {some_of([classes[number] for number in numbers])}'
