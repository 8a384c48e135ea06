"""Metrics of OpenMMLab's evaluators."""

from .shot_accuracy import ShotAccuracy

__all__ = ['ShotAccuracy']
