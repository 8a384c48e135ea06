"""Tiny synthetic data sets in the layouts of the real ones."""

import json

import cv2
import numpy as np


def camvid(root, frames=4, size=(48, 64)):
    """Write all three splits of CamVid in the SegNet authors' layout."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val', 'test'):
        for folder in (split, f'{split}annot'):
            (root / folder).mkdir(parents=True)
        for frame in range(frames):
            cv2.imwrite(str(root / split / f'{frame:04d}.jpg'), rng.integers(0, 256, (*size, 3), np.uint8))
            cv2.imwrite(str(root / f'{split}annot' / f'{frame:04d}.png'), rng.integers(0, 12, size, np.uint8))


def cityscapes(root, frames=4, size=(64, 128)):
    """Write leftImg8bit and gtFine of Cityscapes with train ids, 255 for unlabelled pixels."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        images, labels = root / 'leftImg8bit' / split / 'aachen', root / 'gtFine' / split / 'aachen'
        for folder in (images, labels):
            folder.mkdir(parents=True)
        for frame in range(frames):
            name = f'aachen_{frame:06d}_000019'
            label = rng.integers(0, 19, size, np.uint8)
            label[: size[0] // 4] = 255
            cv2.imwrite(str(images / f'{name}_leftImg8bit.png'), rng.integers(0, 256, (*size, 3), np.uint8))
            cv2.imwrite(str(labels / f'{name}_gtFine_labelTrainIds.png'), label)


def synthia(root, frames=4, size=(48, 80)):
    """Write a SYNTHIA sequence with 16-bit labels, ids in red and instances in green, and the lists of the splits."""
    rng = np.random.default_rng(0)
    sequence, camera = 'SYNTHIA-SEQS-05-SUMMER', 'Stereo_Left/Omni_F'
    images, labels = root / sequence / 'RGB' / camera, root / sequence / 'GT' / 'LABELS' / camera
    for folder in (images, labels):
        folder.mkdir(parents=True)
    for frame in range(3 * frames):
        ids, instances = rng.integers(0, 16, size, np.uint16), rng.integers(0, 400, size, np.uint16)
        cv2.imwrite(str(images / f'{frame:06d}.png'), rng.integers(0, 256, (*size, 3), np.uint8))
        # OpenCV takes blue, green, red
        cv2.imwrite(str(labels / f'{frame:06d}.png'), np.dstack([np.zeros_like(ids), instances, ids]))
    for number, split in enumerate(('train', 'val', 'test')):
        lines = [f'{sequence}/RGB/{camera}/{frame:06d}\n' for frame in range(3 * frames)[number::3]]
        (root / f'{split}.txt').write_text(''.join(lines))


def image_folder(root, classes=3, images=4, size=32):
    """Write a folder of images per class."""
    rng = np.random.default_rng(0)
    for name in range(classes):
        (root / str(name)).mkdir(parents=True)
        for image in range(images):
            cv2.imwrite(str(root / str(name) / f'{image}.png'), rng.integers(0, 256, (size, size, 3), np.uint8))


def long_tail(root, lists, classes, folder='train/{label}', size=40):
    """Write lists with two images of every even class and one image of every odd class."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(lists):
        lines = []
        for label in range(classes):
            path = root / folder.format(label=label)
            path.mkdir(parents=True, exist_ok=True)
            for image in range(2 - label % 2):
                cv2.imwrite(str(path / f'{number}_{image}.jpg'), rng.integers(0, 256, (size, size, 3), np.uint8))
                lines.append(f'{folder.format(label=label)}/{number}_{image}.jpg {label}\n')
        (root / name).write_text(''.join(lines))


def every_long_tail(root):
    """Write small versions of all long-tailed data sets in their layouts; few of the classes have images."""
    long_tail(root / 'cifar10-lt', ['CIFAR10_LT_train.txt', 'CIFAR10_LT_test.txt'], 10, size=32)
    tiny = root / 'tiny-imagenet-lt'
    long_tail(tiny, ['TinyImageNet_LT_train.txt', 'TinyImageNet_LT_val.txt'], 12, size=32)
    (tiny / 'classes.txt').write_text(''.join(f'n{n:08d}\tclass {n}\n' for n in range(200)))
    long_tail(root / 'places365', [f'Places_LT_{split}.txt' for split in ('train', 'val', 'test')], 12)
    lists = [f'iNaturalist18_{split}.txt' for split in ('train', 'val')]
    long_tail(root / 'inaturalist2018', lists, 12, folder='train_val2018/Plantae/{label}')


def lvis(root, images=4, size=64):
    """Write the training split of LVIS v1, with its 1,203 categories: one box an image, of one class each."""
    rng = np.random.default_rng(0)
    for folder in ('annotations', 'train2017'):
        (root / folder).mkdir(parents=True)
    box = [16, 16, 32, 24]
    content = dict(images=[], annotations=[], categories=[])
    for label in range(1203):
        content['categories'].append(dict(id=1 + label, name=str(label), instance_count=int(label < images)))
    for number in range(images):
        name = f'train2017/{number:012d}.jpg'
        cv2.imwrite(str(root / name), rng.integers(0, 256, (size, size, 3), np.uint8))
        url = f'http://images.cocodataset.org/{name}'
        content['images'].append(dict(id=number, coco_url=url, height=size, width=size))
        annotation = dict(id=1 + number, image_id=number, category_id=1 + number, bbox=box, area=box[2] * box[3])
        content['annotations'].append(annotation)
    (root / 'annotations' / 'lvis_v1_train.json').write_text(json.dumps(content))
