"""Random crops for the class that an image was drawn for."""

from __future__ import annotations

import numpy as np

from mmrecall.registry import TRANSFORMS, register
from mmrecall.upstream import require

require('mmseg.datasets')

from mmseg.datasets.transforms import RandomCrop  # noqa: E402

Array = np.ndarray


@register(TRANSFORMS)
class RareClassCrop(RandomCrop):
    """Random crop that is drawn again until it holds more than ``class_pixels`` pixels of a rare class.

    Of ``max_attempts`` crops without so many, the last is taken. In Hoyer et al., "DAFormer", CVPR 2022, the number is
    half of the 3000 pixels for which an image is drawn. Each attempt is a crop of mmseg's `RandomCrop`, with its
    ``cat_max_ratio``.

    The sampler of the loader must be a `RareClassSampler`. Samplers give workers the numbers of images alone, so the
    class is drawn here, by its probability given the image: P(c | image) is proportional to P(c) / n_c for the classes
    of which the image holds more than ``min_pixels`` pixels, where P(c) is the probability of the class and n_c the
    number of images that hold so many of it. Pairs of class and image are then as frequent as with the class of the
    sampler. An image that is drawn for no class is cropped once.

    Needs ``img``, ``gt_seg_map``, ``seg_fields`` and mmengine's ``sample_idx``.

    Args:
        crop_size: height and width of the crop, or one number for both.
        class_pixels: number of pixels of the class that a crop must exceed. They are counted after the transforms
            before this one: for images that are resized to H x W, 1500 * H * W / (2048 * 1024).
        max_attempts: largest number of crops that are drawn.
        cat_max_ratio: see `RandomCrop`.
        ignore_index: see `RandomCrop`.

    Raises:
        ValueError: ``class_pixels`` below 0 or ``max_attempts`` below 1; in training, no `RareClassSampler` or an image
            without ``sample_idx``.

    Example:
        >>> crop = dict(type='mmrecall.RareClassCrop', crop_size=(512, 1024), cat_max_ratio=0.75)
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        class_pixels: int = 1500,
        max_attempts: int = 10,
        cat_max_ratio: float = 1.0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(crop_size, cat_max_ratio, ignore_index)
        if class_pixels < 0:
            raise ValueError(f'got class_pixels={class_pixels}; expected a number of pixels, at least 0')
        height, width = self.crop_size
        if class_pixels >= height * width:
            raise ValueError(
                f'got class_pixels={class_pixels} and crop_size={self.crop_size}; expected fewer than the '
                f'{height * width} pixels of a crop, of which more than class_pixels must be of one class'
            )
        if max_attempts < 1:
            raise ValueError(f'got max_attempts={max_attempts}; expected at least 1')
        self.class_pixels = class_pixels
        self.max_attempts = max_attempts
        self._drawn_for: Array | None = None
        self._weights: Array | None = None

    def set_classes(self, drawn_for: Array, weights: Array) -> None:
        """Set the classes and their weights, as `RareClassSampler` does before workers copy the data set.

        Args:
            drawn_for: whether each image of the data set is drawn for each class, (N, C) bool.
            weights: P(c) / n_c of every class, (C,) float64.
        """
        self._drawn_for = drawn_for
        self._weights = weights

    def draw_class(self, results: dict) -> int | None:
        """Return a class that the image is drawn for, at random; None if there is none."""
        if self._drawn_for is None:
            raise ValueError(
                'RareClassCrop has no classes to crop for; set '
                "train_dataloader.sampler=dict(type='mmrecall.RareClassSampler', _delete_=True), and put the crop "
                'into the pipeline of the data set that loads the labels, not into another transform or a wrapper'
            )
        if 'sample_idx' not in results:
            raise ValueError(
                f'{results.get("img_path")} has no sample_idx, which RareClassCrop needs to find its classes; '
                "mmengine's BaseDataset sets it; for another data set, set it in get_data_info"
            )
        weights = np.where(self._drawn_for[results['sample_idx']], self._weights, 0)
        total = weights.sum()
        return int(np.random.choice(len(weights), p=weights / total)) if total else None

    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Return top, bottom, left and right of the crop."""
        label = self.draw_class(results)
        box = super().crop_bbox(results)
        attempts = self.max_attempts if label is not None else 1
        for _ in range(attempts - 1):
            if np.count_nonzero(self.crop(results['gt_seg_map'], box) == label) > self.class_pixels:
                break
            box = super().crop_bbox(results)
        return box

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, class_pixels={self.class_pixels}, '
            f'max_attempts={self.max_attempts}, cat_max_ratio={self.cat_max_ratio})'
        )
