"""Checkpoints of trained classifiers with τ-normalised rows."""

from collections import OrderedDict
from pathlib import Path

import torch

from mmrecall.functional import tau_normalize
from mmrecall.models.converters.weights_files import check_absent, write_weights
from mmrecall.models.first_stage import FirstStage


def tau_normalize_checkpoint(checkpoint: str, out: str | Path, tau: float) -> Path:
    """Write a checkpoint for the same config, whose classifier is w_c / ‖w_c‖^τ with a bias of 0.

    Kang et al., ICLR 2020: see `mmrecall.functional.tau_normalize`. In a decoupled network the head that predicts is
    normalised. The new checkpoint keeps weights, config and class names, and drops optimizer and logs.

    Args:
        checkpoint: checkpoint of an `ImageClassifier` with a `LinearClsHead`, or with an `SDNHead` of these; a file of
            this machine, of which nothing is run.
        out: checkpoint to write; nothing is overwritten.
        tau: at least 0.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        FileExistsError: ``out`` is there already.
        OSError: ``out`` cannot be written; names it.
        ValueError: no checkpoint, no linear classifier in it, a cosine classifier, or a ``tau`` below 0.
    """
    check_absent(out)
    first_stage = FirstStage.read(checkpoint)
    name = first_stage.classifier()
    if f'{name}.bias' not in first_stage.weights:
        raise ValueError(f'{name} of {checkpoint} has no bias: it is a cosine classifier, whose rows have no lengths')
    weights = OrderedDict(first_stage.weights)
    weights[f'{name}.weight'] = tau_normalize(weights[f'{name}.weight'], tau)
    weights[f'{name}.bias'] = torch.zeros_like(weights[f'{name}.bias'])
    return write_weights(out, weights, first_stage.meta)
