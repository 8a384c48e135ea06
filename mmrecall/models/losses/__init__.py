"""Losses with OpenMMLab's call signature, registered for mmseg and mmpretrain."""

from .recall_loss import RecallLoss

__all__ = ['RecallLoss']
