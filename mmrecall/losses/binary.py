"""Class names and class weights of losses that may have a sigmoid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrecall.functional.binary import num_class_weights, weights_by_label
from mmrecall.functional.validation import check_flag, check_integer, check_number

from .fixed_weights import FixedClassWeights, number_of_names


def number_of_channels(
    classes: Sequence[str] | None, num_classes: int | None, use_sigmoid: bool, option: str = 'classes'
) -> int | None:
    """Return the number of channels, None if it is not known.

    The names alone do not determine that of a sigmoid: two may be of label 0 and label 1 of one channel, or of two
    channels.

    Raises:
        TypeError: ``classes`` is no list of names.
        ValueError: there are more or fewer names than classes.
    """
    check_flag('use_sigmoid', use_sigmoid)
    if not use_sigmoid:
        return number_of_names(classes, num_classes, option)
    if num_classes is not None:
        check_integer('num_classes', num_classes)
    number_of_names(classes, None if num_classes is None else num_class_weights(num_classes), option)
    return num_classes


def class_weights(
    fixed: FixedClassWeights, num_channels: int, device: torch.device, use_sigmoid: bool, enabled: bool = True
) -> Tensor:
    """Return the weights of the classes that are counted: (C,), or for a sigmoid (2C,), see `weights_by_label`."""
    if not use_sigmoid:
        return fixed.get(num_channels, device, enabled)
    return weights_by_label(fixed.get(num_class_weights(num_channels), device, enabled), num_channels)


def check_no_object_weight(weight: float | None, use_sigmoid: bool) -> None:
    """Check ``no_object_weight``, the weight of an additional class that is not in the data.

    Raises:
        TypeError: it is not a number.
        ValueError: it is below 0 or not finite, or ``use_sigmoid`` is set.
    """
    if weight is None:
        return
    check_number('no_object_weight', weight)
    if use_sigmoid:
        raise ValueError(
            f'got no_object_weight={weight} together with use_sigmoid=True; leave one of them out, because "no object" '
            'is a class of a softmax'
        )


def weights_with_no_object(
    fixed: FixedClassWeights, num_classes: int, device: torch.device, weight: float, enabled: bool = True
) -> Tensor:
    """Return the weights of the C classes and of one class more, (C + 1,); ``num_classes`` is C + 1."""
    return F.pad(fixed.get(num_classes - 1, device, enabled), (0, 1), value=float(weight))
