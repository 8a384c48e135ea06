"""What `one_pass` does with a block of scores, (N, C, P), and with labels and the like beside it, (N, 1, P)."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .shift import LogitShift

_LOG2_E = 1 / math.log(2)
# of exponents up to it, and own ones down to minus it, neither the sums nor their ratios overflow with 2**24 classes
_SAFE = {torch.float32: 50.0, torch.float64: 450.0}


class Exponents:
    """From scores to the exponents of 2, which take half the time of those of e: log2(e) x the shifted scores."""

    def __init__(self, shift: LogitShift | None, dtype: torch.dtype, num_bins: int) -> None:
        self._shift = shift
        scale, offsets, margins = shift or LogitShift()
        self._factor = _LOG2_E * scale
        self._offsets = None if offsets is None else (self._factor * offsets).to(dtype).unsqueeze(1)
        # what is left out has none
        self._margins = (
            None if margins is None else F.pad(self._factor * margins, (0, num_bins - len(margins))).to(dtype)
        )

    def of(self, scores: Tensor, out: Tensor) -> Tensor:
        """Those of all classes, without the margin of the own class."""
        if self._offsets is None:
            return torch.mul(scores, self._factor, out=out)
        return torch.add(self._offsets, scores, alpha=self._factor, out=out)

    def subtract_margins(self, own: Tensor, bins: Tensor) -> Tensor:
        """From the exponents of the own class."""
        return own if self._margins is None else own.sub_(look_up(self._margins, bins))

    def shifted_scores(self, scores: Tensor, bins: Tensor) -> Tensor:
        """What the exponents stand for; (N, C) with (N,) labels too."""
        return scores if self._shift is None else self._shift.apply(scores, bins, scores.shape[1])


class Exponentials(NamedTuple):
    """Those of the own class apart; of the shifted scores, or of how far they are below the largest. (N, 1, P) each."""

    classes: Tensor
    """Index of the own class; any class for what is left out."""
    own: Tensor
    """Of the own class."""
    rest: Tensor
    """Sums of those of the other classes."""
    ahead: Tensor
    """Whether the own class has the largest score, for which ``doubtful`` is false."""
    doubtful: Tensor
    """Whether the exponents do not tell."""
    shortfall: Tensor | None
    """How far the own score is below the largest, if that was subtracted."""


def exponentiate(scores: Tensor, bins: Tensor, exponents: Exponents, out: Tensor) -> Exponentials:
    """Leave the exponentials in ``out``, with 0 for the own class; ``bins`` are classes, or C and more."""
    classes = bins.clamp_max(scores.shape[1] - 1)
    own, rival = _take_own(exponents.of(scores, out), classes)
    own = exponents.subtract_margins(own, bins)
    shortfall = None
    if _are_safe(own, rival):
        doubtful = own == rival
    else:
        scores = exponents.shifted_scores(scores, bins.squeeze(1))
        largest = scores.amax(1, keepdim=True)
        shortfall = largest - scores.gather(1, classes)
        own, rival = _take_own(torch.sub(scores, largest, out=out).mul_(_LOG2_E), classes)
        # NaN too
        doubtful = ~((own - rival).abs() > 0)
    ahead = own > rival
    return Exponentials(classes, own.exp2_(), out.exp2_().sum(1, keepdim=True), ahead, doubtful, shortfall)


def _take_own(exponents: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Exponent of the own class, which is replaced by -infinity, and the largest of the others."""
    own = exponents.gather(1, classes)
    # from a tensor, which is twice as fast as from a number
    exponents.scatter_(1, classes, torch.full_like(own, -math.inf))
    return own, exponents.amax(1, keepdim=True)


def _are_safe(own: Tensor, rival: Tensor) -> bool:
    """False for NaN too."""
    bound = _SAFE[own.dtype]
    lowest, highest = torch.aminmax(own)
    return float(lowest) >= -bound and float(highest) <= bound and float(rival.max()) <= bound


def cross_entropies(found: Exponentials) -> Tensor:
    """(N, 1, P); anything for what is left out."""
    if found.shortfall is None:
        return (found.rest / found.own).log1p_()
    return (found.rest + found.own).log_().add_(found.shortfall)


def find_hits(scores: Tensor, bins: Tensor, exponents: Exponents, found: Exponentials) -> Tensor:
    """(N, 1, P) whether the prediction is right; anything for what is left out."""
    hits = found.ahead
    if int(found.doubtful.count_nonzero()):
        image, _, place = found.doubtful.nonzero(as_tuple=True)
        labels = bins[image, 0, place]
        hits[image, 0, place] = exponents.shifted_scores(scores[image, :, place], labels).max(1).indices == labels
    return hits


def subtract_onehot(exponentials: Tensor, found: Exponentials, sums: Tensor) -> None:
    """Turn them into ``sums`` * (softmax - onehot), and fill in these sums."""
    exponentials.scatter_(1, found.classes, found.rest.neg())
    torch.add(found.rest, found.own, out=sums)


def look_up(by_bin: Tensor, bins: Tensor) -> Tensor:
    """``by_bin[bins]``, twice as fast."""
    return by_bin.index_select(0, bins.flatten()).view_as(bins)
