"""Heads for mmpretrain's image classifiers."""

from mmrecall.upstream import require

require('mmpretrain.models')

from .bbn_head import BBNHead  # noqa: E402
from .cosine_head import CosineClsHead  # noqa: E402
from .feature_loss_head import FeatureLossClsHead  # noqa: E402
from .lws_head import LWSHead  # noqa: E402
from .ncm_head import NearestClassMeanHead  # noqa: E402
from .oltr_head import OLTRHead  # noqa: E402
from .sdn_head import SDNHead  # noqa: E402
from .tau_norm_head import TauNormHead  # noqa: E402

__all__ = [
    'BBNHead',
    'CosineClsHead',
    'FeatureLossClsHead',
    'LWSHead',
    'NearestClassMeanHead',
    'OLTRHead',
    'SDNHead',
    'TauNormHead',
]
