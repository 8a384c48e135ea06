"""Heads for mmpretrain's image classifiers."""

from mmrecall.toolboxes import require

require('mmpretrain.models')

from .cosine_head import CosineClsHead  # noqa: E402
from .sdn_head import SDNHead  # noqa: E402

__all__ = ['CosineClsHead', 'SDNHead']
