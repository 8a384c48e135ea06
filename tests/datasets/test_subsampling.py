import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrecall.datasets import draw_long_tail, long_tailed_counts, write_long_tail
from mmrecall.exclusive import only_writer

PROFILES = st.sampled_from(['exponential', 'pareto', 'step'])


@settings(deadline=None)
@given(
    profile=PROFILES,
    num_classes=st.integers(2, 300),
    ratio=st.integers(1, 300),
    smallest=st.integers(1, 50),
    power=st.floats(0.5, 50),
)
def test_counts_fall_from_the_largest_to_its_share(profile, num_classes, ratio, smallest, power):
    counts = long_tailed_counts(num_classes, ratio * smallest, ratio, profile, power)
    assert len(counts) == num_classes
    assert (np.diff(counts) <= 0).all()
    assert (counts[0], counts[-1]) == (ratio * smallest, smallest)


def test_the_exponential_profile_is_a_constant_ratio_and_a_large_power_comes_near_it():
    exponential = np.array(long_tailed_counts(50, 10**9, 100))
    np.testing.assert_allclose(exponential[1:] / exponential[:-1], 100 ** (-1 / 49), rtol=1e-6)
    np.testing.assert_allclose(long_tailed_counts(50, 10**9, 100, 'pareto', 1e6), exponential, rtol=1e-4)


def test_the_pareto_profile_is_a_power_of_the_rank():
    counts = np.array(long_tailed_counts(100, 10**9, 256, 'pareto', 3.0))
    # n^(-1/a) is a straight line over the rank
    straight = counts ** (-1 / 3)
    np.testing.assert_allclose(np.diff(straight), np.diff(straight).mean(), rtol=1e-4)
    steeper = long_tailed_counts(100, 10**9, 256, 'pareto', 1.0)
    assert (np.array(steeper[1:-1]) < counts[1:-1]).all()


@given(num_classes=st.integers(2, 300), ratio=st.integers(1, 300), smallest=st.integers(1, 50))
def test_the_step_profile_has_two_sizes(num_classes, ratio, smallest):
    half = num_classes // 2
    expected = [ratio * smallest] * half + [smallest] * (num_classes - half)
    assert long_tailed_counts(num_classes, ratio * smallest, ratio, 'step') == expected


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((1, 100, 10), 'got num_classes=1; expected at least 2'),
        ((10, 100, 0.5), r'got imbalance_ratio=0\.5'),
        ((10, 100, 10, 'linear'), "got profile='linear'; expected one of 'exponential', 'pareto', 'step'"),
        ((10, 100, 10, 'pareto', 0), 'got power=0'),
        ((10, 9, 10), 'got 9 images in the largest class and an imbalance ratio of 10; expected at least one'),
    ],
)
def test_counts_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        long_tailed_counts(*arguments)


@settings(deadline=None)
@given(profile=PROFILES, seed=st.integers(0, 10**6), images=st.integers(20, 60), classes=st.integers(2, 9))
def test_a_balanced_set_is_thinned_in_the_order_of_its_labels(profile, seed, images, classes):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), images))
    chosen = draw_long_tail(labels, classes, 10, profile, seed=seed)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(labels[chosen]).tolist() == long_tailed_counts(classes, images, 10, profile)


def test_the_largest_class_stays_the_largest():
    labels = np.repeat([0, 1, 2], [50, 200, 90])
    chosen = draw_long_tail(labels, 3, 4, largest=160)
    assert np.bincount(labels[chosen]).tolist() == [40, 160, 80]


def test_the_same_seed_draws_the_same_and_a_smaller_part_lies_within():
    labels = np.repeat([0, 1, 2], 100)
    chosen = draw_long_tail(labels, 3, 10, seed=3)
    assert chosen.tolist() == draw_long_tail(labels, 3, 10, seed=3).tolist()
    assert chosen.tolist() != draw_long_tail(labels, 3, 10, seed=4).tolist()
    assert set(draw_long_tail(labels, 3, 50, seed=3)) < set(chosen)
    # not the first ones of a class
    assert chosen[-10:].tolist() != list(range(200, 210))


def test_every_image_of_a_class_is_drawn_equally_often():
    labels = np.repeat([0, 1], 20)
    drawn = np.zeros(40)
    for seed in range(2000):
        drawn[draw_long_tail(labels, 2, 4, seed=seed)] += 1
    assert (drawn[:20] == 2000).all()
    assert (np.abs(drawn[20:] - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()


def test_a_class_with_fewer_images_than_asked_is_named():
    labels = np.repeat([0, 1, 2], [100, 20, 50])
    with pytest.raises(ValueError, match='class 2 has 50 images, but the profile asks for 70'):
        draw_long_tail(labels, 3, 2)
    with pytest.raises(ValueError, match='class 3 has 0 images'):
        draw_long_tail(labels, 4, 2, largest=20)


class Files:
    """Stand-in for a data set of mmpretrain."""

    metainfo = dict(classes=('cat', 'T-shirt/top'))
    data_root = 'data/x/'

    def __init__(self, infos):
        self.infos = infos

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        return self.infos[index]


def files(folder='data/x', number=10):
    return Files([dict(img_path=f'{folder}/{i:02d} a.jpg', gt_label=i % 2) for i in range(number)])


def test_a_list_has_paths_below_data_root_and_the_counts_that_are_returned(tmp_path):
    out = tmp_path / 'new' / 'train.txt'
    assert write_long_tail(files(), out, 5) == [5, 1]
    lines = [line.rsplit(' ', 1) for line in out.read_text().splitlines()]
    assert [path for path, label in lines if label == '0'] == [f'{i:02d} a.jpg' for i in range(0, 10, 2)]
    assert [label for _, label in lines].count('1') == 1
    assert [path.name for path in out.parent.iterdir()] == ['train.txt']
    again = tmp_path / 'again.txt'
    write_long_tail(files(), again, 5)
    assert again.read_bytes() == out.read_bytes()


def test_a_list_is_never_overwritten(tmp_path):
    out = tmp_path / 'train.txt'
    write_long_tail(files(), out, 5)
    before = out.read_bytes()
    with pytest.raises(FileExistsError, match=r'train\.txt exists; remove it'):
        write_long_tail(files(), out, 1)
    assert out.read_bytes() == before


def test_a_list_that_another_process_writes_is_refused(tmp_path):
    out = tmp_path / 'train.txt'
    with only_writer(out):
        with pytest.raises(BlockingIOError, match=r'train\.txt is being written by process \d+ on'):
            write_long_tail(files(), out, 5)
        assert not out.exists()
    write_long_tail(files(), out, 5)


def test_images_elsewhere_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'data/other/00 a\.jpg is not below data_root data/x/'):
        write_long_tail(files('data/other'), tmp_path / 'train.txt', 5)
    without_root = files('anywhere')
    without_root.data_root = ''
    write_long_tail(without_root, tmp_path / 'train.txt', 5)
    assert 'anywhere/00 a.jpg 0\n' in (tmp_path / 'train.txt').read_text()
    with pytest.raises(ValueError, match='line break'):
        write_long_tail(files('data/x/\n'), tmp_path / 'other.txt', 5)


def test_images_in_memory_are_written_beside_the_list(tmp_path):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (4, 6, 3) if i < 5 else (4, 6), np.uint8) for i in range(10)]
    data = Files([dict(img=image, gt_label=i % 2) for i, image in enumerate(pixels)])
    write_long_tail(data, tmp_path / 'train_lt.txt', 1)
    lines = (tmp_path / 'train_lt.txt').read_text().splitlines()
    assert lines[:2] == ['train_lt/cat/000000.png 0', 'train_lt/T-shirt/top/000001.png 1']
    for line, image in zip(lines, pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / line.rsplit(' ', 1)[0])), image)


def test_an_item_with_several_classes_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'item 0 of Files has gt_label=\[0, 1\]'):
        write_long_tail(Files([dict(img_path='a.jpg', gt_label=[0, 1])]), tmp_path / 'train.txt', 5)
