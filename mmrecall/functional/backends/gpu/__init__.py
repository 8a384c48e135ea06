"""Class sums on a GPU by Triton kernels: one pass over the logits, and one more for the gradient.

Other backends compute the batches that `covers` rejects. Triton is imported with the first batch on a GPU. An ignored
sample has the gradient 0, whatever its logits are; PyTorch's functions propagate NaN.
"""

import warnings
from importlib.util import find_spec

import torch

from ...batch import Batch, is_low_resolution
from ...logit_adjustment import LogitAdjustment
from ...statistics import ClassSums
from ..differentiation import has_class_indices_and_plain_gradient
from .launch import INTERPRETED

_LOGITS = (torch.float16, torch.bfloat16, torch.float32)
_LABELS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
# PyTorch 2.8 comes with Triton 3.4; older versions lack features that the kernels or Triton's interpreter need.
IS_INSTALLED = torch.__version__ >= '2.8' and find_spec('triton') is not None
# Whether the kernels run, by the index of a device.
_are_supported: dict[int, bool] = {}


def covers(batch: Batch) -> bool:
    """Return whether `class_sums` accepts this batch."""
    logits = batch.logits
    return (
        IS_INSTALLED
        and logits.device.type in ('cuda', 'cpu')
        and logits.dtype in _LOGITS
        and batch.target.dtype in _LABELS
        and has_class_indices_and_plain_gradient(batch)
        and (not is_low_resolution(batch) or _are_small(batch))
        and _is_supported(logits.device.type, logits.device.index or 0)
    )


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum its cross entropy, like `reference.class_sums`; without checks."""
    from . import operators

    return operators.class_sums(batch, adjustment, hits=hits, predictions=predictions)


def _are_small(batch: Batch) -> bool:
    """Return whether products of the sizes of low-resolution logits and labels fit into the kernels' 32 bits."""
    (h, w), (height, width) = batch.logits.shape[2:], batch.target.shape[1:]
    return max(2 * h * height, 2 * w * width, height * width, h * w) < 2**30


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_supported(device_type: str, index: int) -> bool:
    """Return whether the kernels run on a device; in Triton's interpreter it is a CPU."""
    if device_type == 'cpu':
        return INTERPRETED
    if index not in _are_supported:
        # the oldest GPUs that Triton supports
        is_new_enough = torch.version.hip is None and torch.cuda.get_device_capability(index) >= (8, 0)
        _are_supported[index] = is_new_enough and not INTERPRETED and _can_start_kernels()
    return _are_supported[index]


def _can_start_kernels() -> bool:
    """Return whether Triton can build what starts its kernels, for which it needs a C compiler; warn if it cannot."""
    from triton.runtime import driver

    try:
        driver.active.utils  # noqa: B018
    except Exception as error:  # Triton passes on any error of the compiler and the loader.
        warnings.warn(
            f'Triton cannot start kernels here ({type(error).__name__}: {error}), so the losses run as slower '
            'operations of PyTorch and take several times as long on this GPU; install gcc or clang and the headers of '
            'Python, or set CC',
            stacklevel=2,
        )
        return False
    return True
