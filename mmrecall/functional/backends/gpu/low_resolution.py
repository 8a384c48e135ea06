"""Class sums straight from low-resolution logits, as of logits interpolated to the size of the labels."""

from ...batch import Batch, is_low_resolution
from ...logit_adjustment import LogitAdjustment
from ...statistics import ClassSums
from . import covers as covers_dense

# Coordinates are products of two sizes of an axis in 32 bits; so is the number of pixels of an image.
_LARGEST_PRODUCT = 2**30


def covers(batch: Batch) -> bool:
    """Return whether `class_sums` takes this batch."""
    return (
        is_low_resolution(batch)
        and batch.upsample == 'bilinear'
        and batch.logits.ndim == 4
        and batch.target.ndim == 3
        and _is_covered_size(tuple(batch.logits.shape[2:]), tuple(batch.target.shape[1:]))
        # without the interpolation, the conditions are those of dense logits
        and covers_dense(Batch(*batch[:6]))
    )


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum its cross entropy, like `reference.class_sums` of `interpolated`; without checks."""
    from . import low_resolution_operators

    return low_resolution_operators.class_sums(batch, adjustment, hits=hits, predictions=predictions)


def _is_covered_size(low: tuple[int, ...], full: tuple[int, ...]) -> bool:
    (h, w), (height, width) = low, full
    return min(h, w, height, width) > 0 and max(2 * h * height, 2 * w * width, height * width) < _LARGEST_PRODUCT
