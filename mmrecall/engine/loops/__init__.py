"""Second stages that learn from one look at a data set."""

from mmrecall.upstream import require

require('mmpretrain.models')

from .class_means import ClassMeansLoop  # noqa: E402
from .tau_selection import TauSelectionLoop  # noqa: E402

__all__ = ['ClassMeansLoop', 'TauSelectionLoop']
