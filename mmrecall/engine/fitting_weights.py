"""Comparison of the weights of a checkpoint with those of a model."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmrecall.datasets.class_order import some_of

# the parameters of layers; position embeddings are resized by the models that load them
_OF_LAYERS = ('.weight', '.bias')


def check_fitting(model: nn.Module, checkpoint: Mapping[str, Any], name: str, same_model: bool) -> None:
    """Check that a checkpoint holds weights of a model, because mmengine loads those that fit and only logs the others.

    Args:
        model: the model, without a wrapper.
        checkpoint: checkpoint of mmengine, or the weights alone.
        name: name of the checkpoint, for the error.
        same_model: whether the checkpoint must be of this very model, as for a test or a resume. A training that begins
            with it may have, for example, another classifier.

    Raises:
        ValueError: no name fits, or a layer of the same model has weights of another shape; names both.
    """
    # A model that changes the names when it loads them is left to mmengine.
    if model._load_state_dict_pre_hooks:
        return
    weights = checkpoint.get('state_dict', checkpoint)
    found = {re.sub(r'^module\.', '', key): value for key, value in weights.items() if isinstance(value, Tensor)}
    expected = dict(model.named_parameters())
    if expected and not expected.keys() & found.keys():
        raise ValueError(
            f'{name} has no weight of this model: it holds {some_of([*found]) or "none"}; the model has '
            f'{some_of([*expected])}. Give the checkpoint of such a model'
        )
    if not same_model:
        return
    others = [
        f'{key} has shape {tuple(found[key].shape)} there and {tuple(value.shape)} in the model'
        for key, value in expected.items()
        if key in found and key.endswith(_OF_LAYERS) and found[key].shape != value.shape
    ]
    if others:
        raise ValueError(
            f'{name} is of another model: {some_of(others)}. Set the config of its training (is num_classes another?); '
            'to train on with what fits, set load_from without resume'
        )
