"""The mathematics of the losses as pure functions of tensors; PyTorch is all they need."""

from .hard_samples import softmax_focal_loss, top_k_cross_entropy
from .long_tail import (
    balanced_logit_variation_loss,
    balanced_softmax_loss,
    ldam_loss,
    ldam_margins,
    logit_adjusted_loss,
    logit_variation_scales,
)
from .lovasz import lovasz_softmax_loss
from .metric_learning import lifted_structure_loss, range_loss
from .open_long_tail import MemoryBatch, memory_batch, memory_loss, meta_embedding, squashed_cosine
from .recall import recall_cross_entropy, recall_weights
from .region import soft_dice_loss, soft_iou_loss, tversky_loss
from .statistics import ClassStatistics, class_statistics
from .tau_norm import tau_normalize
from .weight_schemes import (
    effective_number_weights,
    enet_weights,
    inverse_frequency_weights,
    median_frequency_weights,
    tempered_weights,
)
from .weighted import class_losses, weighted_cross_entropy

__all__ = [
    'ClassStatistics',
    'MemoryBatch',
    'balanced_logit_variation_loss',
    'balanced_softmax_loss',
    'class_losses',
    'class_statistics',
    'effective_number_weights',
    'enet_weights',
    'inverse_frequency_weights',
    'ldam_loss',
    'ldam_margins',
    'lifted_structure_loss',
    'logit_adjusted_loss',
    'logit_variation_scales',
    'lovasz_softmax_loss',
    'median_frequency_weights',
    'memory_batch',
    'memory_loss',
    'meta_embedding',
    'range_loss',
    'recall_cross_entropy',
    'recall_weights',
    'soft_dice_loss',
    'soft_iou_loss',
    'softmax_focal_loss',
    'squashed_cosine',
    'tau_normalize',
    'tempered_weights',
    'top_k_cross_entropy',
    'tversky_loss',
    'weighted_cross_entropy',
]
