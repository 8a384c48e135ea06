"""Image classifiers for mmpretrain."""

from mmrecall.toolboxes import require

require('mmpretrain.models')

from .second_stage import SecondStageClassifier  # noqa: E402

__all__ = ['SecondStageClassifier']
