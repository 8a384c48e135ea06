"""SYNTHIA video sequences: the data set, and the lists of the splits."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmrecall.datasets.failures import raise_failures
from mmrecall.datasets.image_files import ReadableImages
from mmrecall.datasets.label_lists import read_lines
from mmrecall.exclusive import only_writer
from mmrecall.io import atomic_write
from mmrecall.registry import DATASETS, register
from mmrecall.upstream import require

require('mmseg.datasets')

from mmseg.datasets import BaseSegDataset  # noqa: E402

_IGNORED = 255
_VOID = ('void', 'reserved 13', 'reserved 14')
SYNTHIA_IDS: Mapping[str, int] = {
    'void': 0, 'sky': 1, 'building': 2, 'road': 3, 'sidewalk': 4, 'fence': 5, 'vegetation': 6, 'pole': 7, 'car': 8,
    'traffic sign': 9, 'pedestrian': 10, 'bicycle': 11, 'lane marking': 12, 'reserved 13': 13, 'reserved 14': 14,
    'traffic light': 15,
}  # fmt: skip
_PALETTE = {
    'void': [0, 0, 0], 'sky': [128, 128, 128], 'building': [128, 0, 0], 'road': [128, 64, 128],
    'sidewalk': [0, 0, 192], 'fence': [64, 64, 128], 'vegetation': [128, 128, 0], 'pole': [192, 192, 128],
    'car': [64, 0, 128], 'traffic sign': [192, 128, 128], 'pedestrian': [64, 64, 0], 'bicycle': [0, 128, 192],
    'lane marking': [0, 172, 0], 'reserved 13': [32, 32, 32], 'reserved 14': [96, 96, 96],
    'traffic light': [0, 128, 128],
}  # fmt: skip
# number of frames in a block of a contiguous split
_BLOCK = 50
_CLASSES = tuple(name for name in SYNTHIA_IDS if name not in _VOID)


@register(DATASETS)
class SynthiaSequenceDataset(ReadableImages, BaseSegDataset):
    """Frames of SYNTHIA video sequences, 13 classes; void and the two reserved ids are ignored.

    Layout: ``<data_root>/<sequence>/RGB/<side>/<camera>/000000.png`` and the label in
    ``<sequence>/GT/LABELS/<side>/<camera>/000000.png``, read by `LoadSynthiaAnnotations`. Ros et al., "The SYNTHIA
    Dataset", CVPR 2016; the recall-loss paper trains on SYNTHIA-SEQS-05-SUMMER.

    Args:
        ann_file: list of frames that the command ``mmrecall synthia-lists`` writes: in every line the path of an
            image below ``data_root``, without ``.png``.
        all_ids: whether all 16 ids are classes, void and reserved ones included, as in the authors' code.
        **kwargs: arguments of mmseg's `BaseSegDataset`.

    Raises:
        FileNotFoundError: the list, an image or a label is missing; names it.
        ValueError: the list is empty, has a frame twice or a line that is not a frame; or, when it is read, an image
            cannot be read.
    """

    METAINFO = dict(classes=_CLASSES)

    def __init__(self, ann_file: str, all_ids: bool = False, **kwargs: Any) -> None:
        if all_ids:
            kwargs['metainfo'] = {**kwargs.get('metainfo', {}), 'classes': tuple(SYNTHIA_IDS)}
        super().__init__(ann_file=ann_file, img_suffix='.png', seg_map_suffix='.png', **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Return the class index of every id of SYNTHIA; an id that is not a class maps to 255, which is ignored.

        Example:
            >>> SynthiaSequenceDataset.get_label_map(('road', 'bicycle'))[11]
            1
        """
        classes = list(cls.METAINFO['classes'] if new_classes is None else new_classes)
        unknown = [name for name in classes if name not in SYNTHIA_IDS]
        if unknown:
            raise ValueError(f'got the classes {unknown}; expected names out of {list(SYNTHIA_IDS)}')
        return {number: classes.index(name) if name in classes else _IGNORED for name, number in SYNTHIA_IDS.items()}

    def _update_palette(self) -> list[list[int]]:
        return [_PALETTE[name] for name in self._metainfo['classes']]

    def load_data_list(self) -> list[dict]:
        """Return the pairs of image and label, in the order of the list."""
        root = Path(self.data_root or '.')
        images = [root / f'{line}.png' for line in _lines(Path(self.ann_file))]
        pairs = [(image, label_path(image)) for image in images]
        missing = [path for pair in pairs for path in pair if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} file(s) of the {len(pairs)} frames in {self.ann_file} are missing, first {missing[0]}'
            )
        return [
            dict(
                img_path=str(image),
                seg_map_path=str(label),
                label_map=self.label_map,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for image, label in pairs
        ]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; `mmrecall synthia-lists` writes the lists')
    first: dict[str, int] = {}
    for number, line in read_lines(str(path)):
        line = line.strip()
        if first.setdefault(line, number) != number:
            raise ValueError(f'{path} lists {line} in line {first[line]} and line {number}; remove one')
        if len(Path(line).parts) < 5:
            raise ValueError(
                f'{path}, line {number}: got {line[:200]!r}; expected <sequence>/RGB/<side>/<camera>/<frame>, without '
                '.png'
            )
    if not first:
        raise ValueError(f'{path} lists no frames; expected <sequence>/RGB/<side>/<camera>/<frame> in every line')
    return list(first)


def label_path(image: Path) -> Path:
    """Return ``<sequence>/GT/LABELS/<side>/<camera>/<frame>.png`` for the image in ``RGB`` instead of ``GT/LABELS``."""
    side, camera = image.parts[-3:-1]
    return image.parents[3] / 'GT' / 'LABELS' / side / camera / image.name


def find_cameras(root: Path, sequences: Sequence[str] = ()) -> list[Path]:
    """Return the folders ``<sequence>/RGB/<side>/<camera>``, sorted, after a check that every image has a label.

    Args:
        root: folder of the sequences.
        sequences: names of the sequences; all by default.

    Raises:
        FileNotFoundError: a sequence, an image or a label is missing; names it.
        FailedFiles: several are missing; names all of them.
    """
    root = Path(root)
    found = [root / name for name in sequences] or sorted(path.parent for path in root.glob('*/RGB'))
    if not found:
        raise FileNotFoundError(f'{root} holds no sequence; expected {root}/<sequence>/RGB/<side>/<camera>/000000.png')
    cameras = []
    failures: list[Exception] = []
    for sequence in found:
        here = sorted(path for path in sequence.glob('RGB/*/*') if path.is_dir() and any(path.glob('*.png')))
        if not here:
            expected = f'{sequence}/RGB/<side>/<camera>/000000.png'
            failures.append(FileNotFoundError(f'{sequence} has no images; expected {expected}'))
        cameras += here
    failures += [failure for camera in cameras for failure in _missing_in(camera)]
    raise_failures(f'{root} is not complete', failures)
    return cameras


def _missing_in(camera: Path) -> list[Exception]:
    # a glob finds broken links too
    images = [FileNotFoundError(f'the image {image} is missing') for image in _frames(camera) if not image.is_file()]
    labels = [label_path(image) for image in _frames(camera)]
    return images + [FileNotFoundError(f'the label {label} is missing') for label in labels if not label.is_file()]


def _frames(camera: Path) -> list[Path]:
    return sorted(camera.glob('*.png'))


def _check_same_frames(cameras: Sequence[Path]) -> None:
    """Check that the cameras of a sequence have the same frames, so that each moment falls into one split."""
    first: dict[Path, Path] = {}
    failures = []
    for camera in cameras:
        other = first.setdefault(camera.parents[2], camera)
        differing = {image.name for image in _frames(camera)} ^ {image.name for image in _frames(other)}
        if differing:
            failures.append(
                ValueError(
                    f'{camera} and {other} differ in {len(differing)} frame(s), for example {min(differing)}; '
                    'is the sequence unpacked completely?'
                )
            )
    raise_failures('the cameras of a sequence have different frames', failures)


def split_frames(
    frames: Sequence[str], seed: int = 0, contiguous: bool = False
) -> tuple[list[str], list[str], list[str]]:
    """Split the frames of one camera 70/10/20 into training, validation and test, each sorted.

    A random split of a video puts neighbouring, nearly equal frames into different splits. With ``contiguous``, every
    block of 50 frames is cut into a training, a validation and a test run, and one frame is left out at every border,
    so that no two frames of different splits are neighbours.

    Args:
        frames: names with zero-padded numbers, in any order.
        seed: seed of the random split.
        contiguous: whether to cut blocks instead of drawing frames.

    Example:
        >>> [len(part) for part in split_frames([f'{i:06d}' for i in range(787)])]
        [550, 78, 159]
    """
    frames = sorted(frames)
    if contiguous:
        return _split_blocks(frames)
    train, val = 7 * len(frames) // 10, len(frames) // 10
    random.Random(seed).shuffle(frames)
    return sorted(frames[:train]), sorted(frames[train : train + val]), sorted(frames[train + val :])


def _split_blocks(frames: list[str]) -> tuple[list[str], list[str], list[str]]:
    splits: tuple[list[str], list[str], list[str]] = ([], [], [])
    for start in range(0, len(frames), _BLOCK):
        part = frames[start : start + _BLOCK]
        first, second = 7 * len(part) // 10, 8 * len(part) // 10
        # the last frame of every run is left out, because its neighbour is in another split
        for split, run in zip(splits, (part[:first], part[first:second], part[second:]), strict=True):
            split.extend(run[:-1])
    return splits


def write_lists(
    root: Path, out: Path, seed: int = 0, contiguous: bool = False, sequences: Sequence[str] = ()
) -> dict[str, int]:
    """Split every camera folder and write ``train.txt``, ``val.txt`` and ``test.txt``.

    If files are missing, all of them are named and no list is written, because without their frames the split would be
    another one.

    Args:
        root: folder of the sequences.
        out: folder of the lists, created if necessary.
        seed: see `split_frames`.
        contiguous: see `split_frames`.
        sequences: names of the sequences; all by default.

    Returns:
        The number of frames in each list.

    Raises:
        BlockingIOError: another process writes the lists.
        FileNotFoundError: see `find_cameras`.
        OSError: a list cannot be written; names it. The old lists stay.
        ValueError: the cameras of a sequence have different frames, or a split is empty.
    """
    root, out = Path(root), Path(out)
    splits: dict[str, list[str]] = {'train': [], 'val': [], 'test': []}
    cameras = find_cameras(root, sequences)
    _check_same_frames(cameras)
    for camera in cameras:
        names = [image.relative_to(root).with_suffix('').as_posix() for image in _frames(camera)]
        for split, part in zip(splits, split_frames(names, seed, contiguous), strict=True):
            splits[split] += part
    empty = [split for split, lines in splits.items() if not lines]
    if empty:
        raise ValueError(
            f'got {sum(map(len, splits.values()))} frames in {len(cameras)} camera folder(s) of {root}, which leaves '
            f'none for {", ".join(empty)}; expected at least {20 if contiguous else 10} frames per camera'
        )
    with only_writer(out / 'train.txt'), ExitStack() as written:
        for split, lines in splits.items():
            partial = written.enter_context(atomic_write(out / f'{split}.txt'))
            partial.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    return {split: len(lines) for split, lines in splits.items()}
