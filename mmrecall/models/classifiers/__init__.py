"""Image classifiers for mmpretrain."""

from mmrecall.upstream import require

require('mmpretrain.models')

from .bbn import BBN  # noqa: E402
from .oltr import OLTR  # noqa: E402
from .second_stage import SecondStageClassifier  # noqa: E402

__all__ = ['BBN', 'OLTR', 'SecondStageClassifier']
