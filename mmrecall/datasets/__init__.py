"""Data sets of MMSegmentation and MMPretrain, lists of images, class counts, samplers and long-tailed subsets."""

from mmrecall.upstream import missing, require

require('mmengine.dataset')

from .image_counts import ImageCounts, count_images  # noqa: E402
from .label_counts import LabelCounts, count_labels  # noqa: E402
from .label_lists import shot_groups  # noqa: E402
from .label_sources import data_key  # noqa: E402
from .rare_classes import RareClassSampler, rare_class_probabilities  # noqa: E402
from .samplers import BilateralSampler, ClassProbabilitySampler, class_probabilities  # noqa: E402
from .subsampling import draw_long_tail, long_tailed_counts, write_long_tail  # noqa: E402

__all__ = [
    'BilateralSampler',
    'ClassProbabilitySampler',
    'ImageCounts',
    'LabelCounts',
    'RareClassSampler',
    'class_probabilities',
    'count_images',
    'count_labels',
    'data_key',
    'draw_long_tail',
    'long_tailed_counts',
    'rare_class_probabilities',
    'shot_groups',
    'write_long_tail',
]

_SEGMENTATION = [
    'CamVidDataset',
    'CamVidPedestrianDataset',
    'LoadCheckedAnnotations',
    'LoadSynthiaAnnotations',
    'RareClassCrop',
    'SynthiaSequenceDataset',
]
_CLASSIFICATION = ['CIFAR100LT', 'CIFAR10LT', 'INaturalist2018', 'ImageNetLT', 'LongTailList', 'PlacesLT']

if missing('mmseg.datasets') is None:
    # `as`, because type checkers do not know what is added to __all__ here
    from .camvid import CamVidDataset as CamVidDataset
    from .camvid import CamVidPedestrianDataset as CamVidPedestrianDataset
    from .rare_class_crop import RareClassCrop as RareClassCrop
    from .synthia import SynthiaSequenceDataset as SynthiaSequenceDataset
    from .transforms import LoadCheckedAnnotations as LoadCheckedAnnotations
    from .transforms import LoadSynthiaAnnotations as LoadSynthiaAnnotations

    __all__ += _SEGMENTATION

if missing('mmpretrain.datasets') is None:
    from .long_tail import ImageNetLT as ImageNetLT
    from .long_tail import INaturalist2018 as INaturalist2018
    from .long_tail import LongTailList as LongTailList
    from .long_tail import PlacesLT as PlacesLT
    from .long_tailed_cifar import CIFAR10LT as CIFAR10LT
    from .long_tailed_cifar import CIFAR100LT as CIFAR100LT

    __all__ += _CLASSIFICATION


def __getattr__(name: str) -> None:
    """Raise an error that says what to install, for a data set whose toolbox is missing."""
    if name in _SEGMENTATION:
        require('mmseg.datasets')
    if name in _CLASSIFICATION:
        require('mmpretrain.datasets')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
