"""Data sets for MMSegmentation, and a generator of street scenes."""

from .camvid import CamVidDataset
from .street_scenes import street_scene, write_street_scenes
from .synthia import SynthiaSequenceDataset
from .transforms import LoadSynthiaAnnotations

__all__ = [
    'CamVidDataset',
    'LoadSynthiaAnnotations',
    'SynthiaSequenceDataset',
    'street_scene',
    'write_street_scenes',
]
