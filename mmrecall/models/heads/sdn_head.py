"""The Simple Decoupled Network (SDN)."""

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrecall.registry import MODELS, register

Features = tuple[Any, ...]


@register(MODELS)
class SDNHead(BaseModule):
    """Two heads on one backbone: head g trains the features, and head h classifies them without changing them.

    loss = L_g(g(x), y) + L_h(h(x), y), where the gradient of L_h stops at x: section 3 of "Recall Loss for Imbalanced
    Image Classification and Semantic Segmentation", the earlier form of Tian et al., ICRA 2022. There L_g is the recall
    loss with a running recall, L_h the class-balanced cross entropy of Cui et al., CVPR 2019. Prediction is h's alone.

    A part is a config of any mmpretrain head that is called with the same features: `LinearClsHead`,
    `StackedLinearClsHead`, `VisionTransformerClsHead`, … The default fills in the options that it leaves out; a loss is
    replaced as a whole. Names without a prefix are mmpretrain's, in whatever scope the config is written. SDN-CE, for
    example, is ``feature_head=dict(loss=dict(type='CrossEntropyLoss'))``.

    Args:
        num_classes: C, the number of classes.
        in_channels: channels of the features.
        feature_head: g; by default a `LinearClsHead` with ``mmrecall.RecallLoss(alpha=alpha)``.
        classifier_head: h; by default a `LinearClsHead` with ``mmrecall.WeightedCrossEntropyLoss('effective_number',
            class_counts='auto')``, whose counts are taken from the training set before training.
        alpha: weight of the new recall in the running mean of the default L_g, 0 < alpha <= 1; unused with another
            loss. The authors took 0.9 for Places-LT and 0.001 for iNaturalist 2018.
        init_cfg: see mmengine's `BaseModule`; by default each part initialises itself.

    Shape:
        - feats: the output of backbone and neck, a tuple, of which mmpretrain's heads take the last: (N, in_channels).
        - output of forward: (N, C), the logits of h.

    Raises:
        ValueError: a part with another ``num_classes`` or ``in_channels``.
        TypeError: in `loss`, features that are not tensors in lists and tuples.

    Example:
        >>> import torch
        >>> head = SDNHead(3, in_channels=4, classifier_head=dict(loss=dict(type='CrossEntropyLoss')))
        >>> head.init_weights()
        >>> samples = [DataSample().set_gt_label(label) for label in (0, 1)]
        >>> losses = head.loss((torch.zeros(2, 4),), samples)
        >>> {name: round(value.item(), 4) for name, value in losses.items()}
        {'loss_feature': 0.6042, 'loss_classifier': 1.0986}
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feature_head: Mapping[str, Any] | None = None,
        classifier_head: Mapping[str, Any] | None = None,
        alpha: float = 0.9,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        feature_loss = dict(type='mmrecall.RecallLoss', alpha=alpha, num_classes=num_classes)
        classifier_loss = dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            num_classes=num_classes,
        )
        defaults = dict(num_classes=num_classes, in_channels=in_channels)
        self.feature_head = _build(complete_part(feature_head, **defaults, loss=feature_loss))
        self.classifier_head = _build(complete_part(classifier_head, **defaults, loss=classifier_loss))

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the features that the last layer of h takes."""
        return self.classifier_head.pre_logits(feats)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits of h, differentiable down to the image."""
        return self.classifier_head(feats)

    def predict(self, feats: Features, data_samples: list[DataSample | None] | None = None) -> list[DataSample]:
        """Return the predictions of h."""
        return self.classifier_head.predict(feats, data_samples)

    def loss(self, feats: Features, data_samples: list[DataSample], **options: Any) -> dict[str, Any]:
        """Return the losses of both parts, each name followed by ``_feature`` or ``_classifier``."""
        parts = (
            ('feature', self.feature_head, feats),
            ('classifier', self.classifier_head, _detach(feats)),
        )
        # mmengine adds up all names that contain 'loss'; the suffixes do not contain it.
        return {
            f'{name}_{part}': value
            for part, head, features in parts
            for name, value in head.loss(features, data_samples, **options).items()
        }


def complete_part(part: Mapping[str, Any] | None, **defaults: Any) -> dict[str, Any]:
    """Return the config of one of the two heads, with defaults for the options that it leaves out.

    Example:
        >>> complete_part(dict(topk=(1, 5)), num_classes=3, in_channels=4)
        {'type': 'LinearClsHead', 'num_classes': 3, 'in_channels': 4, 'topk': (1, 5)}
    """
    given = _without_delete_mark(part or {})
    for name, value in defaults.items():
        if name != 'loss' and given.get(name, value) != value:
            raise ValueError(
                f'got {name}={given[name]} in feature_head or classifier_head, but {name}={value} in SDNHead; leave it '
                'out of the inner head'
            )
    if isinstance(given.get('loss'), Mapping):
        given['loss'] = _without_delete_mark(given['loss'])
    return {'type': 'LinearClsHead', **defaults, **given}


def _without_delete_mark(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy without ``_delete_``, which mmengine leaves in a config whose base has nothing to delete."""
    return {key: value for key, value in config.items() if key != '_delete_'}


def _build(part: dict[str, Any]) -> nn.Module:
    part.setdefault('_scope_', 'mmpretrain')
    return ROOT_MODELS.build(part)


def _detach(feats: Any) -> Any:
    """Return features without their graph, in the lists and tuples in which a backbone nests them."""
    if isinstance(feats, Tensor):
        return feats.detach()
    if isinstance(feats, (list, tuple)):
        return type(feats)(_detach(item) for item in feats)
    raise TypeError(f'got features of type {type(feats).__name__}; expected a tensor, or a list or tuple of tensors')
