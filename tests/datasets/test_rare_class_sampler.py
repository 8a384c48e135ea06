"""Rare-class sampling against loops over DAFormer's formulas."""

from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.logging import MMLogger
from mmengine.registry import DATA_SAMPLERS
from rare_scenes import CLASSES, FRAMES, pair_probabilities, pixels, scenes, write_scenes
from test_label_counts import classification
from test_samplers import LOOPS, train

from mmrecall.datasets import RareClassSampler, rare_class_probabilities
from mmrecall.engine import ExactResumeHook

CROP = dict(type='mmrecall.RareClassCrop', crop_size=(12, 16), class_pixels=4)
# warm enough that every pair of class and image is drawn in a test
OPTIONS = dict(min_pixels=7, temperature=0.3)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp('scenes') / 'data')


def sampler(root, *transforms, **options):
    return RareClassSampler(scenes(root, *transforms), **{'seed': 0, **OPTIONS, **options})


@pytest.mark.parametrize('temperature', [0.01, 0.1, 1.0])
def test_probabilities_are_those_of_daformers_formula(temperature):
    counts = [36_000_000, 6_000_000, 23_000_000, 700_000, 900_000, 1_200_000, 200_000, 550_000, 16_000_000, 100_000]
    exponentials = []
    for count in counts:
        exponentials.append(np.exp((1 - count / sum(counts)) / temperature))
    expected = [exponential / sum(exponentials) for exponential in exponentials]
    np.testing.assert_allclose(rare_class_probabilities(counts, temperature), expected, rtol=1e-12)


@given(
    counts=st.lists(st.integers(0, 10**9), min_size=1).filter(any),
    temperature=st.floats(1e-6, 1e3),
    data=st.data(),
)
def test_probabilities_are_a_softmax_over_the_classes_that_can_be_drawn(counts, temperature, data):
    drawn = np.array(data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts))))
    possible = drawn & (np.array(counts) > 0)
    if not possible.any():
        with pytest.raises(ValueError, match='expected at least one class to draw'):
            rare_class_probabilities(counts, temperature, drawn)
        return
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    logits = torch.where(torch.tensor(possible), (1 - shares) / temperature, -torch.inf)
    found = rare_class_probabilities(counts, temperature, drawn)
    np.testing.assert_allclose(found, logits.softmax(0).numpy(), rtol=1e-6, atol=1e-12)
    assert (found[~possible] == 0).all()


def test_without_a_list_of_classes_all_with_pixels_can_be_drawn():
    assert (rare_class_probabilities([5, 0, 9], 1.0) > 0).tolist() == [True, False, True]


def frequencies(drawn, size):
    return np.bincount(drawn, minlength=size)


def p_value(found, expected):
    """Of a chi-square test, over the cells with an expectation; the others must be empty."""
    stats = pytest.importorskip('scipy.stats')
    possible = expected > 0
    assert (found[~possible] == 0).all()
    return stats.chisquare(found[possible], expected[possible] * found.sum() / expected.sum()).pvalue


def test_images_are_drawn_as_often_as_the_formula_says(root):
    drawn = list(islice(sampler(root, endless=True), 40_000))
    expected = pair_probabilities(pixels(root), **OPTIONS)
    assert p_value(frequencies(drawn, FRAMES), expected.sum(1)) > 0.01
    # far from uniform
    assert p_value(frequencies(drawn, FRAMES), np.ones(FRAMES) * (expected.sum(1) > 0)) < 1e-6


def test_pairs_of_class_and_image_are_as_frequent_as_if_the_crop_had_the_samplers_class(root):
    data = scenes(root, CROP)
    crop = data.pipeline.transforms[-1]
    expected = pair_probabilities(pixels(root), **OPTIONS)
    drawn = islice(RareClassSampler(data, seed=0, endless=True, **OPTIONS), 40_000)
    np.random.seed(0)
    pairs = [index * len(CLASSES) + crop.draw_class(dict(sample_idx=index)) for index in drawn]
    assert p_value(frequencies(pairs, expected.size), expected.ravel()) > 0.01
    rare = expected.sum(0)[3] * 40_000
    assert abs(sum(pair % len(CLASSES) == 3 for pair in pairs) - rare) < 5 * np.sqrt(rare)


WRAPPED = {
    'repeat': lambda one, other: RepeatDataset(one, 3),
    'concat': lambda one, other: ConcatDataset([one, other], ignore_keys=['palette']),
}


@pytest.mark.parametrize('case', WRAPPED)
def test_items_of_wrapped_data_are_drawn_and_cropped_by_their_classes(case, root, tmp_path):
    parts = [scenes(root, CROP), scenes(write_scenes(tmp_path / 'other', frames=9, seed=1), CROP)]
    data = WRAPPED[case](*parts)
    counts = np.concatenate([pixels(root)] * 3 if case == 'repeat' else [pixels(root), pixels(tmp_path / 'other')])
    expected = pair_probabilities(counts, **OPTIONS)
    drawn = list(islice(RareClassSampler(data, seed=0, endless=True, **OPTIONS), 60_000))
    assert p_value(frequencies(drawn, len(data)), expected.sum(1)) > 0.01
    # the classes for which the crops of item 53 or 57 are drawn: an item of the second data set, or scene 7 again
    item, part = (53, parts[1]) if case == 'concat' else (57, parts[0])
    crop, info = part.pipeline.transforms[-1], data.get_data_info(item)
    classes = [crop.draw_class(info) for _ in range(5000)]
    assert p_value(frequencies(classes, len(CLASSES)), expected[item]) > 0.01


def test_classes_that_no_image_holds_enough_of_are_left_out_and_named(root, caplog):
    MMLogger.get_instance('rare classes').addHandler(caplog.handler)
    most = pixels(root).max(0)
    found = sampler(root, min_pixels=int(most[3]))
    assert (
        'RareClassSampler leaves out 2 of 5 classes, because no image holds more than '
        f'min_pixels={most[3]} pixels of them: bird (at most {most[3]}), nowhere (at most 0)'
    ) in caplog.text
    assert found.probabilities[3:].tolist() == [0, 0]
    assert found.probabilities.sum() == pytest.approx(1)
    expected = pair_probabilities(pixels(root), int(most[3]), 0.3)
    np.testing.assert_allclose(found.probabilities, expected.sum(0), rtol=1e-12)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(min_pixels=3000),
            r'got min_pixels=3000, but an image holds at most \d+ pixels of a class; set',
        ),
        (dict(min_pixels=-1), 'got min_pixels=-1; expected a number of pixels, at least 0'),
        (dict(temperature=0.0), r'got temperature=0\.0; expected a number above 0'),
        (dict(temperature=float('nan')), 'got temperature=nan'),
        (dict(temperature=float('inf')), 'got temperature=inf'),
    ],
)
def test_what_cannot_be_drawn_is_said(options, message, root):
    with pytest.raises(ValueError, match=message):
        sampler(root, **options)


def test_an_image_is_drawn_for_a_class_of_which_it_holds_more_pixels_as_in_the_authors_code(root):
    most = int(pixels(root)[:, 3].max())
    assert sampler(root, min_pixels=most - 1).sizes[3] == (pixels(root)[:, 3] == most).sum() > 0
    assert sampler(root, min_pixels=most).sizes[3] == 0
    assert sampler(root, min_pixels=0).sizes.tolist() == (pixels(root) > 0).sum(0).tolist()


def test_images_with_one_label_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'a label per image.*use mmrecall\.ClassProbabilitySampler'):
        RareClassSampler(classification(tmp_path, [0, 1]))


def test_a_bad_label_is_named_before_the_training(tmp_path):
    write_scenes(tmp_path, frames=3)
    cv2.imwrite(str(tmp_path / 'labels' / '001.png'), np.full((4, 4), 9, np.uint8))
    with pytest.raises(ValueError, match=r'labels/001\.png has the label 9'):
        sampler(tmp_path)


def test_both_spellings_of_the_type_build_it(root):
    for name in ('RareClassSampler', 'mmrecall.RareClassSampler'):
        built = DATA_SAMPLERS.build(dict(type=name, dataset=scenes(root), min_pixels=7, seed=3))
        assert isinstance(built, RareClassSampler)
        assert len(built) == len(list(built)) == FRAMES


def test_epochs_and_seeds_draw_differently_and_each_alone_repeatably(root):
    draws = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        draw = sampler(root, seed=seed)
        draw.set_epoch(epoch)
        draws.append(list(draw))
        assert list(draw) == draws[-1]
    assert len({tuple(draw) for draw in draws}) == 3


def on_rank(found, rank, world_size):
    found.rank, found.world_size = rank, world_size
    found.total_size = -(-FRAMES // world_size) * world_size
    return found


@pytest.mark.parametrize('endless', [False, True])
@pytest.mark.parametrize('world_size', [1, 2, 3, 4])
def test_ranks_share_one_drawing(world_size, endless, root):
    ranks = [on_rank(sampler(root, endless=endless), rank, world_size) for rank in range(world_size)]
    if endless:
        parts = [list(islice(draw, 240 // world_size)) for draw in ranks]
        assert [index for row in zip(*parts, strict=True) for index in row] == list(
            islice(sampler(root, endless=True), 240)
        )
    else:
        parts = [list(draw) for draw in ranks]
        assert [len(part) for part in parts] == [len(draw) for draw in ranks] == [-(-FRAMES // world_size)] * world_size
        assert [index for row in zip(*parts, strict=True) for index in row][:FRAMES] == list(sampler(root))


def draw_in_group(rank, world_size, root, file):
    found = RareClassSampler(scenes(root), min_pixels=7, image_counts=str(file))
    return found.seed, list(found)


def test_ranks_of_a_group_agree_on_counts_and_seed_and_draw_what_one_process_draws(two_ranks, root, tmp_path):
    (seed, first), (other_seed, second) = two_ranks.run(draw_in_group, root, tmp_path / 'counts.npz')
    assert seed == other_seed
    together = [index for pair in zip(first, second, strict=True) for index in pair]
    assert together == list(RareClassSampler(scenes(root), min_pixels=7, seed=seed))
    assert [path.name for path in tmp_path.iterdir()] == ['counts.npz']


def fail_in_group(rank, world_size, root):
    with pytest.raises(ValueError if rank == 0 else RuntimeError) as caught:
        RareClassSampler(scenes(root))
    return str(caught.value)


def test_a_label_that_rank_zero_cannot_read_stops_all_ranks(two_ranks, tmp_path):
    write_scenes(tmp_path, frames=2)
    (tmp_path / 'labels' / '001.png').write_bytes(b'')
    first, second = two_ranks.run(fail_in_group, tmp_path)
    assert 'labels/001.png cannot be read as a label' in first
    assert second == 'counting the classes of every image failed on rank 0; the error of rank 0 says why'


class Digest:
    """Transform that reduces an item to its number and its pixels."""

    def __call__(self, results):
        return dict(index=f'{results["sample_idx"]}: {results["img"].tobytes().hex()}')


def numbers(batches):
    return [int(item.partition(':')[0]) for batch in batches for item in batch]


@pytest.mark.parametrize(
    ('loop', 'endless', 'workers'),
    [
        ('epochs', False, 0),
        ('epochs', False, 2),
        ('iterations', False, 0),
        ('iterations', True, 0),
        ('iterations', True, 2),
    ],
)
def test_a_resumed_training_sees_the_crops_of_an_uninterrupted_one(loop, endless, workers, root, tmp_path):
    def batches(name, **options):
        loader = dict(
            dataset=scenes(root, CROP, Digest()),
            sampler=dict(type='mmrecall.RareClassSampler', endless=endless, **OPTIONS),
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        return train(tmp_path / name, train_cfg, checkpoint, loader, hooks=[ExactResumeHook()], **options)

    train_cfg, checkpoint, file, done = LOOPS[loop]
    whole = batches('whole')
    resumed = batches('resumed', resume=True, load_from=str(tmp_path / 'whole' / file))
    assert len(whole) == (39 if loop == 'epochs' else 30)
    assert resumed == whole[done:]
    if endless:
        assert numbers(whole) == list(islice(sampler(root, seed=5, endless=True), 120))
        return
    for epoch in range(2):
        draw = sampler(root, seed=5)
        draw.set_epoch(epoch)
        assert numbers(whole[13 * epoch : 13 * epoch + 13]) == list(draw)
