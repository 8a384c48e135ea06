"""Checkpoints of a first stage, from which the second stage of a decoupled training begins."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmrecall.functional import tau_normalize
from mmrecall.io import read_checkpoint

# the layer of mmpretrain's linear heads, and the one that predicts in a decoupled network
_CLASSIFIERS = ('head.fc', 'head.classifier_head.fc')
_FEATURES = ('backbone', 'neck')
_SECOND_STAGES = {'head.scales', 'head.tau'}
# networks with more than a linear classifier, by a part of their weights' names
_OTHER_NETWORKS = {
    'attention.places.': 'OLTR, whose features have an attention',
    '.rebalancing.': 'BBN, whose classifier takes the features of two branches',
}


class FirstStage(NamedTuple):
    """A trained classifier, read from its checkpoint."""

    path: str
    weights: Mapping[str, Tensor]
    meta: Mapping[str, Any]
    """Config and class names, as mmengine saves them."""

    @classmethod
    def read(cls, path: str) -> 'FirstStage':
        """Read a checkpoint that mmengine has written; nothing in it is run.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: the file is no checkpoint, has no backbone, or is of OLTR or BBN.
        """
        loaded = read_checkpoint(path)
        weights = loaded.get('state_dict', loaded)
        # DistributedDataParallel adds the prefix.
        weights = {str(name).removeprefix('module.'): value for name, value in weights.items()}
        if not any(name.startswith('backbone.') for name in weights):
            raise ValueError(f'{path} has no weights of a backbone; give the checkpoint of a trained ImageClassifier')
        for part, kind in _OTHER_NETWORKS.items():
            if any(part in name for name in weights):
                raise ValueError(f'{path} is of {kind}; give the checkpoint of a plain ImageClassifier')
        meta = loaded.get('meta')
        return cls(path, weights, meta if isinstance(meta, Mapping) else {})

    def fill_features(self, model: nn.Module) -> None:
        """Give backbone and neck of a model all weights and buffers of the first stage.

        Raises:
            ValueError: they differ from those of the first stage.
        """
        for part in _FEATURES:
            module = getattr(model, part, None)
            found = {
                name[len(part) + 1 :]: value for name, value in self.weights.items() if name.startswith(f'{part}.')
            }
            if module is None:
                if found:
                    raise ValueError(f'{self.path} has a {part}, but the model of the config has none')
                continue
            try:
                module.load_state_dict(found)
            except RuntimeError as error:
                raise ValueError(f'the {part} of {self.path} is not that of the config: {error}') from error

    def fill_classifier(self, fc: nn.Linear) -> None:
        """Give a linear layer the rows of the classifier, and its bias if the layer has one.

        A cosine classifier has no bias, and ignores the lengths of its rows: they become unit vectors.

        Raises:
            ValueError: the classifier is of another size, or not linear.
        """
        name = self.classifier()
        weight, bias = self.weights[f'{name}.weight'], self.weights.get(f'{name}.bias')
        if weight.shape != fc.weight.shape:
            raise ValueError(
                f'{name} of {self.path} is of {tuple(weight.shape)} (classes, channels), that of the config of '
                f'{tuple(fc.weight.shape)}'
            )
        with torch.no_grad():
            fc.weight.copy_(tau_normalize(weight, 1.0) if bias is None else weight)
            if fc.bias is not None:
                fc.bias.copy_(torch.zeros_like(fc.bias) if bias is None else bias)

    def classifier(self) -> str:
        """Return the name of the layer that predicts.

        Raises:
            ValueError: the layer is not linear, or the checkpoint is of a second stage.
        """
        if _SECOND_STAGES & set(self.weights):
            raise ValueError(
                f'{self.path} is of a second stage already (LWS or tau-normalisation); give the checkpoint of the first'
            )
        for name in _CLASSIFIERS:
            if f'{name}.weight' in self.weights:
                return name
        heads = sorted({name.rpartition('.')[0] for name in self.weights if name.startswith('head.')})
        raise ValueError(
            f'{self.path} has no linear classifier {" or ".join(_CLASSIFIERS)}, only {", ".join(heads) or "no head"}'
        )
