"""Checkpoints of trained models with the post-hoc logit adjustment in their bias."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmrecall.models.converters.weights_files import write_weights


def write_adjusted(
    path: str | Path, weights: Mapping[str, Tensor], layer: str, offsets: Tensor, meta: Mapping[str, Any]
) -> Path:
    """Write a checkpoint whose last layer has the bias b_c - τ log π_c, so that it predicts adjusted classes.

    Menon et al., ICLR 2021, section 4.1. A constant of each class is the same before and after bilinear interpolation
    and the mean of sliding windows, so that the predictions are those of adjusted scores.

    Args:
        path: path of the checkpoint; nothing is overwritten.
        weights: state dict of the model.
        layer: name of the layer that computes the scores.
        offsets: (C,) numbers τ log π_c.
        meta: meta of the checkpoint that the weights come from; config and class names are kept.

    Raises:
        FileExistsError: ``path`` is there already.
        OSError: ``path`` cannot be written; names it.
    """
    adjusted = OrderedDict(weights)
    bias = adjusted[f'{layer}.bias']
    adjusted[f'{layer}.bias'] = (bias.double() - offsets).to(bias)
    return write_weights(path, adjusted, meta)
