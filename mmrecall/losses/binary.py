"""Class names and class weights of losses that may have a sigmoid."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmrecall.functional.binary import num_class_weights, weights_by_label
from mmrecall.functional.validation import check_flag, check_integer

from .fixed_weights import FixedClassWeights, number_of_names


def number_of_channels(
    classes: Sequence[str] | None, num_classes: int | None, use_sigmoid: bool, option: str = 'classes'
) -> int | None:
    """Return the number of channels, None if it is not known.

    The names of a sigmoid do not tell it: two are those of label 0 and label 1 of one channel, or of two channels.

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
    """Return the weights of the classes that are counted: (C,), or of a sigmoid (2C,), see `weights_by_label`."""
    if not use_sigmoid:
        return fixed.get(num_channels, device, enabled)
    return weights_by_label(fixed.get(num_class_weights(num_channels), device, enabled), num_channels)
