"""Adjustment of the logits by class before the cross entropy, as in LDAM and logit adjustment."""

from typing import NamedTuple

from torch import Tensor

from .statistics import full_precision
from .validation import valid_labels


class LogitAdjustment(NamedTuple):
    """Parameters of the adjusted logits, scale x (z + offsets - margin_y 1[c = y])."""

    scale: float = 1.0
    offsets: Tensor | None = None
    """(C,), added to all scores."""
    margins: Tensor | None = None
    """(C,), subtracted from the score of the labelled class; they need class indices."""

    def apply(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Return the adjusted logits, in at least float32; without checks."""
        logits = full_precision(logits)
        if self.offsets is not None:
            logits = logits + self.offsets.to(logits).reshape(-1, *[1] * (logits.ndim - 2))
        if self.margins is not None:
            valid = valid_labels(target, logits.shape[1], ignore_index)
            labels = target.long().masked_fill(~valid, 0)
            margins = self.margins.to(logits)[labels].masked_fill(~valid, 0)
            logits = logits.scatter_add(1, labels.unsqueeze(1), -margins.unsqueeze(1))
        return logits if self.scale == 1 else self.scale * logits
