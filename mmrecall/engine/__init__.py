"""What surrounds training: the stock tools, ranks on CPUs, hooks, loops."""

from mmrecall.upstream import missing, require

require('mmengine.registry')

from .hooks import (  # noqa: E402
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
from .ranks import init_cpu_ranks  # noqa: E402
from .stock_tools import run_stock_tool  # noqa: E402

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
