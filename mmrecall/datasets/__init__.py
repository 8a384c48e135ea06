"""Data sets for MMSegmentation."""

from .camvid import CamVidDataset

__all__ = ['CamVidDataset']
