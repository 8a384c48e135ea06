"""Checks of logits, labels and options, with messages that name the argument and its value."""

from numbers import Integral, Real

import torch
from torch import Tensor

REDUCTIONS = ('mean', 'sum', 'none')
UPSAMPLES = ('bilinear',)
NORMALIZERS = ('valid', 'all', 'weight')
AVERAGED_CLASSES = ('present', 'all')
FLOATING_POINT = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# the classes of a sample share a mass of 1, which is rounded in bfloat16
_LARGEST_MASS = 1.01
_WITH_SIGMOID = 'use_sigmoid=True in RecallLoss, WeightedCrossEntropyLoss or SoftmaxFocalLoss'
_MULTI_LABEL = (
    f'for samples with several classes at once (multi-label heads, loss_se_decode of EncHead) set {_WITH_SIGMOID}'
)
# PyTorch accepts numbers below it
_LARGEST = 2**63


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f'got {name}={value!r}; expected one of {", ".join(map(repr, choices))}')


def is_soft(target: Tensor) -> bool:
    """Return whether the labels are a mass per class (floating point) instead of class indices."""
    return target.is_floating_point()


def check_shapes(
    logits: Tensor,
    target: Tensor,
    sample_weight: Tensor | None = None,
    loss: str = 'this loss',
    upsample: str | None = None,
    use_sigmoid: bool = False,
) -> None:
    """Check types, dtypes and shapes, which needs no look at the values; ``loss`` is a name for errors.

    With ``upsample`` logits (N, C, h, w) belong to a target (N, H, W) of any other size. With ``use_sigmoid`` the
    target has the shape of the logits; for one channel it may have no dimension of channels.

    Raises:
        TypeError: an argument is not a tensor, the logits are not floating point, the labels are neither integers nor
            floating point, or the weights are complex.
        ValueError: fewer than two classes of a softmax, shapes that do not belong together, or tensors on several
            devices.
    """
    for name, value in (('logits', logits), ('target', target), ('sample_weight', sample_weight)):
        if not isinstance(value, Tensor) and not (name == 'sample_weight' and value is None):
            raise TypeError(f'got {name} of type {type(value).__name__}; expected a tensor')
        if value is not None and value.device != logits.device:
            raise ValueError(
                f'got {name} on {value.device} and logits on {logits.device}; expected one device; move {name} to '
                f'{logits.device}'
            )
    if logits.dtype not in FLOATING_POINT:
        raise TypeError(
            f'got logits of type {logits.dtype}; expected floating point of 16, 32 or 64 bits; pass the scores before '
            f'the {"sigmoid" if use_sigmoid else "softmax"}'
        )
    if logits.ndim < 2:
        raise ValueError(f'got logits of shape {tuple(logits.shape)}; expected (N, C, ...)')
    if use_sigmoid and not logits.shape[1]:
        raise ValueError(f'got logits of shape {tuple(logits.shape)} for {loss}; expected at least one channel')
    if not use_sigmoid and logits.shape[1] < 2:
        raise ValueError(
            f'got logits of shape {tuple(logits.shape)}, but {loss} is a softmax over classes; expected at least two '
            f"channels; for a binary task of one channel, such as STDC's boundaries, set {_WITH_SIGMOID}, or use two "
            'channels (num_classes=2, out_channels=2)'
        )
    size = logits.shape[2:] if upsample is None else _size_after(upsample, logits, target)
    if use_sigmoid:
        _check_sigmoid_target(logits, target, size)
    else:
        _check_target(logits, target, size, loss)
    samples = (logits.shape[0], *size)
    if sample_weight is not None and tuple(sample_weight.shape) != samples:
        raise ValueError(
            f'got sample_weight of shape {tuple(sample_weight.shape)} for logits of shape {tuple(logits.shape)}; '
            f'expected one weight per sample, {samples}'
        )
    if sample_weight is not None and sample_weight.dtype.is_complex:
        raise TypeError(f'got sample_weight of type {sample_weight.dtype}; expected real numbers')


def _size_after(upsample: str, logits: Tensor, target: Tensor) -> torch.Size:
    """Return the height and width to which the logits are interpolated: those of the target."""
    check_choice('upsample', upsample, UPSAMPLES)
    size = target.shape[-2:]
    if logits.ndim != 4 or target.ndim < 2 or 0 in logits.shape[2:] or 0 in size:
        raise ValueError(
            f'got logits of shape {tuple(logits.shape)} and target of shape {tuple(target.shape)} with '
            f'upsample={upsample!r}; expected logits (N, C, h, w) and a target (N, H, W), with all sizes above 0; add '
            'the missing dimension, or leave upsample out if the logits have the size of the target'
        )
    return size


def _check_target(logits: Tensor, target: Tensor, size: torch.Size, loss: str) -> None:
    if (
        target.dtype == torch.bool
        or target.dtype.is_complex
        or (is_soft(target) and target.dtype not in FLOATING_POINT)
    ):
        raise TypeError(
            f'got a target of type {target.dtype}; expected class indices (integers) or soft labels (floats)'
        )
    expected = (*(logits.shape[:2] if is_soft(target) else logits.shape[:1]), *size)
    if tuple(target.shape) != expected:
        kind = 'soft labels (a floating-point target)' if is_soft(target) else 'class indices (an integer target)'
        message = (
            f'got a target of shape {tuple(target.shape)} for logits of shape {tuple(logits.shape)}; '
            f'expected {expected} for {kind}'
        )
        if target.shape == logits.shape:
            message += f'; {loss} does not accept one-hot labels; {_MULTI_LABEL}'
        elif logits.ndim == 4 and tuple(target.shape[:-2]) == expected[:-2]:
            message += "; for logits of a lower resolution set upsample='bilinear'"
        raise ValueError(message)


def _check_sigmoid_target(logits: Tensor, target: Tensor, size: torch.Size) -> None:
    if target.dtype.is_complex or (is_soft(target) and target.dtype not in FLOATING_POINT):
        raise TypeError(f'got a target of type {target.dtype}; expected labels 0 and 1 (integers, booleans or floats)')
    shapes = [(*logits.shape[:2], *size)]
    if logits.shape[1] == 1:
        shapes.append((logits.shape[0], *size))
    if tuple(target.shape) not in shapes:
        message = (
            f'got a target of shape {tuple(target.shape)} for logits of shape {tuple(logits.shape)} with '
            f'use_sigmoid=True; expected a label 0 or 1 for every entry, {" or ".join(map(str, shapes))}'
        )
        if tuple(target.shape) == (logits.shape[0], *size):
            message += '; for class indices leave use_sigmoid out'
        raise ValueError(message)


def check_class_indices(target: Tensor) -> None:
    """Raise TypeError for soft labels."""
    if isinstance(target, Tensor) and is_soft(target):
        raise TypeError(
            f'got a target of type {target.dtype}; expected class indices (integers); this loss is not defined for '
            'soft labels (mixup, label smoothing)'
        )


def check_finite(name: str, value: float) -> None:
    """Raise TypeError unless it is a number, ValueError unless it is finite."""
    if not isinstance(value, Real):
        raise TypeError(f'got {name}={value!r}; expected a number')
    # NaN too
    if not -_LARGEST < value < _LARGEST:
        raise ValueError(f'got {name}={value}; expected a finite number below 2**63')


def check_integer(name: str, value: int) -> None:
    """Raise TypeError unless it is an integer, ValueError unless it fits into 64 bits."""
    if not isinstance(value, Integral):
        raise TypeError(f'got {name}={value!r}; expected an integer')
    if not -_LARGEST < value < _LARGEST:
        raise ValueError(f'got {name}={value}; expected an integer below 2**63')


def check_label_smoothing(value: float) -> None:
    """Raise TypeError unless it is a number, ValueError unless it lies between 0 and 1."""
    check_finite('label_smoothing', value)
    if not 0 <= value <= 1:
        raise ValueError(f'got label_smoothing={value}; expected a number between 0 and 1')


def check_flag(name: str, value: bool) -> None:
    """Raise TypeError unless it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f'got {name}={value!r}; expected True or False')


def check_number(name: str, value: float, *, above_zero: bool = False) -> None:
    """Raise TypeError unless it is a number, ValueError unless it is finite and at least 0, or above 0."""
    check_finite(name, value)
    if value < 0 or (above_zero and value == 0):
        raise ValueError(f'got {name}={value}; expected a number {"above" if above_zero else "of at least"} 0')


def valid_labels(target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Return the mask of the samples that count: in [0, C) and not ``ignore_index``, or with some label mass."""
    if is_soft(target):
        return target.sum(dim=1) > 0
    target = target.long()
    return (target >= 0) & (target < num_classes) & (target != ignore_index)


def count_invalid_labels(
    target: Tensor,
    num_classes: int,
    ignore_index: int,
    num_valid: Tensor | None = None,
    use_sigmoid: bool = False,
) -> Tensor:
    """Count the labels that are neither a class nor ignored.

    Of soft labels, those that are negative, NaN or infinite, and the samples with a mass above 1. With ``use_sigmoid``,
    those that are not between 0 and 1. Passing the number of valid class indices, if it is known, saves time.

    Returns:
        An int64 scalar on the target's device; nothing is read back to the host.
    """
    if is_soft(target) and use_sigmoid:
        return _is_invalid_entry(target, ignore_index).count_nonzero()
    if is_soft(target):
        is_mass = (target >= 0) & (target < float('inf'))
        return (~is_mass).count_nonzero() + _has_excess_mass(target).count_nonzero()
    if use_sigmoid:
        num_classes = 2
    # long first: a uint8 label compared with -100 would be compared with 156
    target = target.long()
    if num_valid is not None:
        return target.numel() - num_valid - (target == ignore_index).count_nonzero()
    # count_nonzero, because the sum of a mask makes an int64 map of it on a CPU
    return ((target != target.clamp(0, num_classes - 1)) & (target != ignore_index)).count_nonzero()


def describe_invalid_labels(target: Tensor, num_classes: int, ignore_index: int, use_sigmoid: bool = False) -> str:
    """Return the message for labels that `count_invalid_labels` found (reads values back to the host)."""
    if use_sigmoid:
        return _describe_invalid_entries(target, ignore_index)
    if is_soft(target):
        return _describe_invalid_masses(target)
    count = int(count_invalid_labels(target, num_classes, ignore_index))
    target = target.long()
    outside = target[((target < 0) | (target >= num_classes)) & (target != ignore_index)]
    return (
        f'got {count} label(s) outside [0, {num_classes}) in target, from {int(outside.min())} to '
        f'{int(outside.max())}, that are not ignore_index={ignore_index}; set num_classes to the number of classes, '
        'reduce_zero_label=True if label 0 means unlabelled, or ignore_index to the label to leave out'
    )


def _is_invalid_entry(target: Tensor, ignore_index: int) -> Tensor:
    # NaN too
    return ~((target >= 0) & (target <= 1)) & (target != ignore_index)


def _describe_invalid_entries(target: Tensor, ignore_index: int) -> str:
    target = target if is_soft(target) else target.long()
    bad = target[_is_invalid_entry(target, ignore_index)]
    return (
        f'got {bad.numel()} label(s) outside [0, 1] in target, the first is {bad[0].item()}, that are not '
        f'ignore_index={ignore_index}; expected the labels 0 and 1 for every channel with use_sigmoid=True; set '
        'ignore_index to the label to leave out, or for class indices leave use_sigmoid out'
    )


def _has_excess_mass(target: Tensor) -> Tensor:
    return target.sum(dim=1, dtype=torch.float32) > _LARGEST_MASS


def _describe_invalid_masses(target: Tensor) -> str:
    bad = target[~((target >= 0) & (target < float('inf')))]
    if bad.numel():
        return (
            f'got {bad.numel()} soft label(s) in target that are negative, NaN or infinite, the first is '
            f'{bad[0].item()}; expected label masses that are finite and at least 0'
        )
    return (
        f'got {int(_has_excess_mass(target).count_nonzero())} sample(s) in target whose soft labels have a sum above '
        f'1, the largest {target.sum(dim=1, dtype=torch.float32).max().item():g}; expected at most 1, because the '
        f'classes of a softmax exclude one another; {_MULTI_LABEL}'
    )


def check_labels(target: Tensor, num_classes: int, ignore_index: int, use_sigmoid: bool = False) -> None:
    """Raise ValueError for labels outside the classes; on a GPU this waits for the device."""
    if count_invalid_labels(target, num_classes, ignore_index, use_sigmoid=use_sigmoid) > 0:
        raise ValueError(describe_invalid_labels(target, num_classes, ignore_index, use_sigmoid))


def check_per_class(name: str, value: Tensor, num_classes: int, highest: float = float('inf')) -> None:
    """Raise TypeError or ValueError unless ``value`` is a (C,) tensor between 0 and ``highest``."""
    if not isinstance(value, Tensor):
        raise TypeError(f'got {name} of type {type(value).__name__}; expected a tensor')
    if tuple(value.shape) != (num_classes,):
        raise ValueError(
            f'got {name} of shape {tuple(value.shape)}; expected {(num_classes,)}, one number for every class of the '
            'logits'
        )
    valid = (value >= 0) & (value <= highest)
    if not bool(valid.all()):
        wrong = value[~valid]
        bounds = 'of at least 0' if highest == float('inf') else f'between 0 and {highest}'
        raise ValueError(
            f'got {name} with {len(wrong)} wrong number(s), such as {wrong[0].item():g}; expected numbers {bounds}'
        )


def check_per_label(name: str, value: Tensor, num_channels: int, highest: float = float('inf')) -> None:
    """Raise TypeError or ValueError unless ``value`` is a (C, 2) tensor between 0 and ``highest``."""
    if isinstance(value, Tensor) and tuple(value.shape) != (num_channels, 2):
        raise ValueError(
            f'got {name} of shape {tuple(value.shape)} with use_sigmoid=True; expected {(num_channels, 2)}, one number '
            'for label 0 and one for label 1 of every channel'
        )
    check_per_class(name, value.flatten() if isinstance(value, Tensor) else value, 2 * num_channels, highest)


def check_class_counts(counts: Tensor) -> None:
    """Raise TypeError or ValueError unless the counts are a (C,) tensor, finite, at least 0 and not all 0."""
    if not isinstance(counts, Tensor):
        raise TypeError(f'got class counts of type {type(counts).__name__}; expected a tensor')
    if counts.ndim != 1:
        raise ValueError(f'got class counts of shape {tuple(counts.shape)}; expected one number per class')
    if not bool(((counts >= 0) & (counts < float('inf'))).all()) or not bool((counts > 0).any()):
        raise ValueError(
            f'got class counts {counts.tolist()}; expected numbers that are finite, at least 0 and not all 0'
        )


def check_tversky_weights(tversky_weights: tuple[float, float]) -> None:
    """Raise ValueError unless they are two numbers, at least 0."""
    if (
        not isinstance(tversky_weights, (tuple, list))
        or len(tversky_weights) != 2
        or not all(isinstance(weight, Real) and 0 <= weight < _LARGEST for weight in tversky_weights)
        or not any(tversky_weights)
    ):
        raise ValueError(
            f'got tversky_weights={tversky_weights!r}; expected two numbers, finite, at least 0 and not both 0'
        )
