"""Class sizes of a data set of mmpretrain."""

import numpy as np

from mmrecall.datasets.label_lists import shot_groups


class LabelStatistics:
    """Mixin for data sets of mmpretrain with one label per image: the number of images of every class."""

    @property
    def class_counts(self) -> list[int]:
        """Number of images of every class."""
        labels = self.get_gt_labels()
        return np.bincount(labels[labels >= 0], minlength=len(self.CLASSES)).tolist()

    @property
    def shot_groups(self) -> list[str]:
        """Group of every class by its number of images, see `mmrecall.datasets.shot_groups`."""
        return shot_groups(self.class_counts)
