"""Every registered loss, with the options that tests try it with."""

from mmrecall.functional.validation import NORMALIZERS
from mmrecall.losses import (
    BalancedLogitVariationLoss,
    BalancedSoftmaxLoss,
    BaseLoss,
    ClassCounts,
    LDAMLoss,
    LogitAdjustedLoss,
    LovaszSoftmaxLoss,
    OHEMCrossEntropyLoss,
    RecallLoss,
    SoftDiceLoss,
    SoftIoULoss,
    SoftmaxFocalLoss,
    SoftTverskyLoss,
    WeightedCrossEntropyLoss,
)
from mmrecall.registry import MODELS

CLASSES = 4
COUNTS = [700, 90, 40, 5]
LOSSES = {
    'recall': (RecallLoss, {}),
    'running recall': (RecallLoss, dict(alpha=0.5, num_classes=CLASSES)),
    'smoothed recall': (RecallLoss, dict(label_smoothing=0.2)),
    'weighted': (WeightedCrossEntropyLoss, dict(class_weight='inverse_frequency', class_counts=COUNTS)),
    'weighted mean': (
        WeightedCrossEntropyLoss,
        dict(class_weight='effective_number', class_counts='auto', num_classes=CLASSES, normalizer='weight'),
    ),
    'focal': (SoftmaxFocalLoss, {}),
    'focal by class': (SoftmaxFocalLoss, dict(alpha=[0.5, 1.0, 2.0, 0.1])),
    'top k': (OHEMCrossEntropyLoss, {}),
    'tversky': (SoftTverskyLoss, {}),
    'dice': (SoftDiceLoss, {}),
    'iou': (SoftIoULoss, {}),
    'iou of all classes': (SoftIoULoss, dict(classes='all', smooth=1.0)),
    'lovasz': (LovaszSoftmaxLoss, {}),
    'lovasz per image': (LovaszSoftmaxLoss, dict(per_image=True)),
    'weighted dice': (
        SoftDiceLoss,
        dict(class_weight='inverse_frequency', class_counts='auto', num_classes=CLASSES, power=0.5),
    ),
    'weighted lovasz': (LovaszSoftmaxLoss, dict(class_weight=[0.5, 2.0, 1.0, 3.0])),
    'ldam': (LDAMLoss, dict(class_counts=COUNTS, class_weight='effective_number', beta=0.99)),
    'logit adjusted': (LogitAdjustedLoss, dict(class_counts=COUNTS, tau=0.5)),
    'balanced softmax': (BalancedSoftmaxLoss, dict(class_counts='auto', num_classes=CLASSES)),
    # with so large a sigma all noise is clamped to 1, and does not depend on chance
    'logit variation': (BalancedLogitVariationLoss, dict(class_counts=COUNTS, sigma=1e12)),
}
REGION = ('tversky', 'dice', 'iou', 'iou of all classes', 'lovasz', 'weighted dice', 'weighted lovasz')
WITHOUT_SOFT_LABELS = tuple(name for name, (cls, _) in LOSSES.items() if not cls.takes_soft_labels)


def registered():
    """Return what the project registers as losses of logits."""
    return {cls for cls in MODELS.module_dict.values() if issubclass(cls, BaseLoss)}


def make(name, **options):
    cls, own = LOSSES[name]
    return counted(cls(**{**own, **options}))


def counted(model):
    """With the class counts that a hook would give it."""
    for module in model.modules():
        if isinstance(module, ClassCounts) and module.automatic:
            module.set(COUNTS)
    return model


def normalizers(name):
    """Return those that the loss takes, none if it has no choice."""
    return tuple(normalizer for normalizer in NORMALIZERS if _takes(name, normalizer))


def _takes(name, normalizer):
    try:
        make(name, normalizer=normalizer)
    except (TypeError, ValueError):
        return False
    return True
