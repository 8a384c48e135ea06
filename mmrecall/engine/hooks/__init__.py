"""What happens during training."""

from .class_counts import ClassCountsHook
from .deferred_reweighting import DeferredReweightingHook
from .install import install_class_counts_hook

__all__ = ['ClassCountsHook', 'DeferredReweightingHook', 'install_class_counts_hook']
