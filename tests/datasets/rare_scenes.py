"""Small scenes for segmentation in which some classes are rare."""

import cv2
import numpy as np
import pytest

CLASSES = ('ground', 'bush', 'pole', 'bird', 'nowhere')
FRAMES, SIZE = 50, (24, 36)


def write_scenes(root, frames=FRAMES, seed=0):
    """Write images and labels: much ground, bushes in most scenes, poles in some, few birds, and unlabelled pixels."""
    rng = np.random.default_rng(seed)
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    for frame in range(frames):
        label = np.zeros(SIZE, np.uint8)
        label[:2] = 255
        for number, chance, (height, width) in ((1, 0.8, (8, 12)), (2, 0.5, (10, 3)), (3, 0.3, (4, 4))):
            # one scene has all
            if frame == 7 or rng.random() < chance:
                height, width = rng.integers(1, height + 1), rng.integers(1, width + 1)
                top, left = rng.integers(2, SIZE[0] - height + 1), rng.integers(SIZE[1] - width + 1)
                label[top : top + height, left : left + width] = number
        cv2.imwrite(str(root / 'labels' / f'{frame:03d}.png'), label)
        cv2.imwrite(str(root / 'images' / f'{frame:03d}.jpg'), rng.integers(0, 256, (*SIZE, 3), np.uint8))
    return root


def scenes(root, *transforms, **options):
    """Return mmseg's plain data set of the scenes, with transforms after the loaders."""
    datasets = pytest.importorskip('mmseg.datasets')

    class Scenes(datasets.BaseSegDataset):
        METAINFO = dict(classes=CLASSES, palette=[[i, i, i] for i in range(len(CLASSES))])

    return Scenes(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[dict(type='mmseg.LoadImageFromFile'), dict(type='mmseg.LoadAnnotations'), *transforms],
        **options,
    )


def pixels(root):
    """Return the pixels of every class in every scene, (N, C), from a loop over the files."""
    labels = [cv2.imread(str(path), 0) for path in sorted((root / 'labels').iterdir())]
    return np.array([[(label == number).sum() for number in range(len(CLASSES))] for label in labels])


def pair_probabilities(counts, min_pixels, temperature):
    """Return the probability that class c and image i are drawn together, (N, C), from a loop over the formula."""
    share = [counts[:, c].sum() / counts.sum() for c in range(counts.shape[1])]
    images = [[i for i in range(len(counts)) if counts[i, c] > min_pixels] for c in range(counts.shape[1])]
    total = sum(np.exp((1 - share[c]) / temperature) for c in range(counts.shape[1]) if images[c])
    expected = np.zeros(counts.shape)
    for c in range(counts.shape[1]):
        for i in images[c]:
            expected[i, c] = np.exp((1 - share[c]) / temperature) / total / len(images[c])
    return expected
