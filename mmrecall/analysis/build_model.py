"""Models of configs, to be given the weights of a checkpoint."""

import copy

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmrecall.config_files import naming_mistakes


def build_model(config: Config) -> nn.Module:
    """Build the model of a config in its scope, with its data preprocessor, for one process; download no weights.

    Raises:
        ValueError: a config without a model, or with a type that no registry has.
    """
    if not config.get('model'):
        raise ValueError(f'{config.filename} has no model; expected a config that trains')
    if config.get('default_scope'):
        init_default_scope(config.default_scope)
    model = copy.deepcopy(config.model)
    # a checkpoint has all weights
    model.pop('pretrained', None)
    if config.get('data_preprocessor'):
        model.setdefault('data_preprocessor', config.data_preprocessor)
    with naming_mistakes(config):
        return revert_sync_batchnorm(MODELS.build(model))
