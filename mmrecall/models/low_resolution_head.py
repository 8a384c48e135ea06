"""Decode heads of mmseg whose losses take the logits before they are interpolated to the size of the labels."""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mmrecall.functional import ClassStatistics
from mmrecall.upstream import require

require('mmseg.models')

from mmseg.models.decode_heads.decode_head import BaseDecodeHead  # noqa: E402
from mmseg.utils import SampleList  # noqa: E402

# the epsilon of mmseg's accuracy()
_EPSILON = torch.finfo(torch.float32).eps


class LowResolutionHead(BaseDecodeHead):
    """Base of a decode head, between its class and `BaseDecodeHead`, that lets the losses interpolate the logits.

    `set_low_resolution` puts it there. A ``loss_by_feat`` of the head's own class stays in force: what it adds to that
    of `BaseDecodeHead` it adds to this one.
    """

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses, and the accuracy from the counts of the first."""
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        terms: dict[str, Tensor] = {}
        for loss in losses_of(self):
            value = loss(
                seg_logits,
                label,
                weight=None,
                ignore_index=self.ignore_index,
                upsample='bilinear',
                align_corners=self.align_corners,
            )
            terms[loss.loss_name] = terms[loss.loss_name] + value if loss.loss_name in terms else value
        num_pixels = label.numel() if self.ignore_index is None else None
        terms['acc_seg'] = accuracy_of(losses_of(self)[0].last_statistics, num_pixels)
        return terms

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Return what pickle and copy need to make a head of the class that it had before."""
        # A class that is made while training cannot be imported, and a copy must not keep what ends with the training.
        # Protocol 1 names the class as an argument, which pickle does not compare with that of the object.
        rebuild, arguments, *state = super().__reduce_ex__(1)
        stock = _class_before(type(self))
        return rebuild, tuple(stock if one is type(self) else one for one in arguments), *state


def decode_heads(model: nn.Module) -> Iterator[tuple[str, BaseDecodeHead]]:
    """Yield name and module of every decode head, auxiliary or not, that has a loss."""
    for name, module in model.named_modules():
        # K-Net's iterative head has only those of the heads in it.
        if isinstance(module, BaseDecodeHead) and losses_of(module):
            yield name, module


def losses_of(head: BaseDecodeHead) -> list[nn.Module]:
    """Return the losses that a head adds up."""
    found = getattr(head, 'loss_decode', None)
    if isinstance(found, nn.ModuleList):
        return list(found)
    return [] if found is None else [found]


def why_full_resolution(head: BaseDecodeHead) -> str | None:
    """Return the reason why the losses of a head need logits of the size of the labels, or None if they do not."""
    own = next((base.__name__ for base in type(head).__mro__ if _replaces_loss(base)), None)
    if own is not None:
        return f'{own} has a loss_by_feat of its own'
    if getattr(head, 'sampler', None) is not None:
        return f'{type(head.sampler).__name__} chooses among the pixels of the labels'
    if head.out_channels == 1:
        return 'it has one output channel, whose loss is a sigmoid'
    unable = [type(loss).__name__ for loss in losses_of(head) if not getattr(loss, 'takes_low_resolution', False)]
    return f'{", ".join(dict.fromkeys(unable))} needs a map of their size' if unable else None


def set_low_resolution(head: BaseDecodeHead, on: bool) -> None:
    """Put `LowResolutionHead` behind the class of a head, or take it away; the module stays the same."""
    if on != isinstance(head, LowResolutionHead):
        head.__class__ = _class_with(type(head)) if on else _class_before(type(head))


def accuracy_of(statistics: ClassStatistics, num_pixels: int | None = None) -> Tensor:
    """Compute mmseg's ``accuracy()`` from counts: the percentage of valid pixels that are right, (1,) float32.

    Args:
        statistics: with the true positives of logits that no loss has adjusted.
        num_pixels: number of all pixels, if ignored ones count as wrong.

    Example:
        >>> accuracy_of(ClassStatistics(torch.tensor([8, 2]), None, torch.tensor([6, 1])))
        tensor([70.])
    """
    hits = statistics.true_positives.sum().float()
    total = statistics.support.sum().float() if num_pixels is None else num_pixels
    # The epsilons are mmseg's: a batch without a valid pixel has the accuracy 100.
    return ((hits + _EPSILON) * (100 / (total + _EPSILON))).reshape(1)


@cache
def _class_with(cls: type) -> type:
    names = dict(__module__=cls.__module__, __qualname__=cls.__qualname__, __doc__=cls.__doc__)
    # The order of bases puts it behind all classes that are derived from BaseDecodeHead.
    return type(cls)(cls.__name__, (cls, LowResolutionHead), names)


def _class_before(cls: type) -> type:
    return cls.__bases__[0]


def _replaces_loss(cls: type) -> bool:
    """Return whether a class has a ``loss_by_feat`` that does not call that of its base."""
    method = vars(cls).get('loss_by_feat')
    if method is None or cls in (BaseDecodeHead, LowResolutionHead):
        return False
    code = getattr(inspect.unwrap(method), '__code__', None)
    return code is None or not {'super', 'loss_by_feat'} <= set(code.co_names)
