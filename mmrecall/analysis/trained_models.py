"""What a config says of its model."""

import copy

from mmengine.config import Config, ConfigDict


def model_of(config: Config) -> ConfigDict:
    """A copy of the model of a config, with the config's data preprocessor if it has none, as a runner builds it.

    Example:
        >>> model_of(Config(dict(model=dict(type='ImageClassifier'), data_preprocessor=dict(num_classes=3))))
        {'type': 'ImageClassifier', 'data_preprocessor': {'num_classes': 3}}
    """
    model = copy.deepcopy(config.model)
    if config.get('data_preprocessor'):
        model.setdefault('data_preprocessor', config.data_preprocessor)
    return model
