"""What surrounds training: the stock tools, ranks on CPUs, hooks, loops."""

from mmrecall.toolboxes import missing

from .cpu_ranks import init_cpu_ranks
from .hooks import (
    AtomicCheckpointHook,
    ClassCountsHook,
    ClassMemoryHook,
    ClassWeightHook,
    CumulativeLearningHook,
    DeferredReweightingHook,
    ExactResumeHook,
    NonFiniteLossHook,
    SkippedStepHook,
    install_hooks_of_losses,
)
from .stock_tools import run_stock_tool

__all__ = [
    'AtomicCheckpointHook',
    'ClassCountsHook',
    'ClassMemoryHook',
    'ClassWeightHook',
    'CumulativeLearningHook',
    'DeferredReweightingHook',
    'ExactResumeHook',
    'NonFiniteLossHook',
    'SkippedStepHook',
    'init_cpu_ranks',
    'run_stock_tool',
]

install_hooks_of_losses()

if missing('mmpretrain.models') is None:
    from .loops import ClassMeansLoop, TauSelectionLoop

    __all__ += ['ClassMeansLoop', 'TauSelectionLoop']
