"""Crops for the class that an image was drawn for."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('mmseg.datasets')
from mmengine.dataset import pseudo_collate
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import RandomCrop
from rare_scenes import pixels, scenes, write_scenes
from torch.utils.data import DataLoader

from mmrecall.datasets import RareClassCrop, RareClassSampler, count_labels

CROP = dict(type='mmrecall.RareClassCrop', crop_size=(12, 16), class_pixels=4)


def crop_for(number, classes=3, class_pixels=4, **options):
    """Return a crop for one class, whatever the image."""
    found = RareClassCrop((4, 6), class_pixels, **options)
    found.set_classes(np.arange(classes)[None] == number, np.ones(classes))
    return found


def item(label):
    label = np.asarray(label, np.uint8)
    # the image tells where a pixel was
    image = np.arange(label.size).reshape(label.shape)
    return dict(img=image, gt_seg_map=label, seg_fields=['gt_seg_map'], sample_idx=0)


@given(seed=st.integers(0, 2**31), class_pixels=st.integers(0, 9))
def test_a_crop_holds_more_pixels_than_asked_for_unless_all_attempts_failed(seed, class_pixels):
    np.random.seed(seed)
    label = np.zeros((9, 13))
    label[2:5, 3:7] = 1
    crop, attempts = crop_for(1, class_pixels=class_pixels, max_attempts=10), []
    draw = crop.crop
    crop.crop = lambda array, box: attempts.append(box) or draw(array, box)
    found = crop(item(label))
    # the last two calls cut image and label out
    checked = [(label[a:b, c:d] == 1).sum() for a, b, c, d in attempts[:-2]]
    held = (found['gt_seg_map'] == 1).sum()
    assert held > class_pixels or len(checked) == 9
    assert all(number <= class_pixels for number in checked[:-1])
    assert found['img_shape'] == found['gt_seg_map'].shape == (4, 6)
    np.testing.assert_array_equal(found['gt_seg_map'], label.ravel()[found['img']])


@pytest.mark.parametrize('max_attempts', [1, 3, 10])
def test_no_more_crops_are_drawn_than_max_attempts_and_the_last_is_taken(max_attempts, monkeypatch):
    offsets, draw = [], np.random.randint
    # mmseg's crop draws its top and its left
    monkeypatch.setattr(np.random, 'randint', lambda *limits: offsets.append(draw(*limits)) or offsets[-1])
    found = crop_for(1, max_attempts=max_attempts)(item(np.zeros((40, 60))))
    assert len(offsets) == 2 * max_attempts
    assert found['img'][0, 0] == 60 * offsets[-2] + offsets[-1]


def test_an_image_that_is_drawn_for_no_class_is_cropped_as_mmseg_does():
    crop = RareClassCrop(crop_size=(4, 6), class_pixels=4)
    crop.set_classes(np.zeros((1, 3), bool), np.ones(3))
    label = np.random.default_rng(0).integers(0, 3, (40, 60))
    np.random.seed(1)
    found = crop(item(label))
    np.random.seed(1)
    np.testing.assert_array_equal(found['img'], RandomCrop(crop_size=(4, 6))(item(label))['img'])


def test_every_attempt_keeps_the_largest_share_of_a_class():
    label = np.zeros((12, 16))
    label[:, :5] = 1
    crop = crop_for(1, class_pixels=3, cat_max_ratio=0.75, max_attempts=100)
    for _ in range(50):
        found = np.bincount(crop(item(label))['gt_seg_map'].ravel(), minlength=2)
        assert found[1] > 3
        assert found.max() / 24 < 0.75


@pytest.mark.parametrize('workers', [0, 2])
def test_crops_of_a_loader_hold_enough_pixels_of_a_class_that_their_image_is_drawn_for(workers, tmp_path):
    class Keep:
        def __call__(self, results):
            return dict(index=results['sample_idx'], label=results['gt_seg_map'])

    write_scenes(tmp_path)
    data = scenes(tmp_path, dict(CROP, max_attempts=200), Keep())
    sampler = RareClassSampler(data, min_pixels=7, temperature=0.01, seed=0)
    loader = DataLoader(data, 10, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate)
    enough = pixels(tmp_path) >= 8
    found = [pair for batch in loader for pair in zip(batch['index'], batch['label'], strict=True)]
    assert len(found) == 50
    for index, label in found:
        here = np.array([(label == number).sum() for number in range(5)])
        assert (here > 4)[enough[index]].any()
    birds = sum((label == 3).sum() > 4 for _, label in found)
    # P(bird) is above 0.6 at this temperature, while one scene in seven has so many
    assert birds > 25


def test_a_crop_without_the_sampler_says_what_to_set(tmp_path):
    write_scenes(tmp_path, frames=2)
    with pytest.raises(ValueError, match=r"set train_dataloader\.sampler=dict\(type='mmrecall\.RareClassSampler'"):
        scenes(tmp_path, CROP)[0]


def test_an_image_without_its_number_is_named():
    results = item(np.zeros((9, 9)))
    del results['sample_idx']
    with pytest.raises(ValueError, match=r'a\.jpg has no sample_idx.*set it in get_data_info'):
        crop_for(1)(dict(results, img_path='a.jpg'))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(class_pixels=-1), 'got class_pixels=-1; expected a number of pixels, at least 0'),
        (dict(class_pixels=16), 'expected fewer than the 16 pixels of a crop'),
        (dict(class_pixels=4, max_attempts=0), 'got max_attempts=0; expected at least 1'),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RareClassCrop(crop_size=4, **options)


def test_both_spellings_of_the_type_build_it_and_it_can_be_pickled():
    for name in ('RareClassCrop', 'mmrecall.RareClassCrop'):
        built = TRANSFORMS.build(dict(type=name, crop_size=(4, 6), class_pixels=4))
        assert type(built) is RareClassCrop
        assert repr(pickle.loads(pickle.dumps(built))) == (
            'RareClassCrop(crop_size=(4, 6), class_pixels=4, max_attempts=10, cat_max_ratio=1.0)'
        )


def test_the_crop_does_not_change_the_class_counts(tmp_path):
    write_scenes(tmp_path)
    assert count_labels(scenes(tmp_path, CROP)) == count_labels(scenes(tmp_path))
