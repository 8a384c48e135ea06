"""Heads for mmpretrain's image classifiers."""

from mmrecall.toolboxes import require

require('mmpretrain.models')

from .cosine_head import CosineClsHead  # noqa: E402
from .lws_head import LWSHead  # noqa: E402
from .ncm_head import NearestClassMeanHead  # noqa: E402
from .sdn_head import SDNHead  # noqa: E402
from .tau_norm_head import TauNormHead  # noqa: E402

__all__ = ['CosineClsHead', 'LWSHead', 'NearestClassMeanHead', 'SDNHead', 'TauNormHead']
