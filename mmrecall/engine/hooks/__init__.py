"""Hooks of a mmengine Runner."""

from .checkpoint import AtomicCheckpointHook
from .class_counts_hook import ClassCountsHook
from .class_memory import ClassMemoryHook
from .class_weight import ClassWeightHook
from .cumulative_learning import CumulativeLearningHook
from .deferred_reweighting import DeferredReweightingHook
from .exact_resume import ExactResumeHook
from .install import install_hooks_of_losses
from .low_resolution_loss import LowResolutionLossHook
from .non_finite_loss import NonFiniteLossHook
from .skipped_step import SkippedStepHook

__all__ = [
    'AtomicCheckpointHook',
    'ClassCountsHook',
    'ClassMemoryHook',
    'ClassWeightHook',
    'CumulativeLearningHook',
    'DeferredReweightingHook',
    'ExactResumeHook',
    'LowResolutionLossHook',
    'NonFiniteLossHook',
    'SkippedStepHook',
    'install_hooks_of_losses',
]
