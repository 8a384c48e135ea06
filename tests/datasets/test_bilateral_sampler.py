import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATA_SAMPLERS
from test_samplers import LABELS, Flowers

from mmrecall.datasets import BilateralSampler

COUNTS = {0: 9, 2: 36, 3: 1, 4: 4}
# one in 10,000 samples of 50 frequencies is above it
LIMIT = 94.6


def draws(sampler, epochs):
    """Uniform and reversed items of several epochs."""
    found = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found += list(sampler)
    return np.array(found[0::2]), np.array(found[1::2])


def chi_square(items):
    """Of 50 numbers, from P_j = w_j / Σw with w_j = N_max/N_j for a class, and an item of it uniformly."""
    weights = {label: max(COUNTS.values()) / count for label, count in COUNTS.items()}
    expected = [len(items) * weights[label] / sum(weights.values()) / COUNTS[label] for label in LABELS]
    return sum((np.bincount(items, minlength=50) - expected) ** 2 / expected)


def test_every_second_item_is_uniform_each_item_once_an_epoch():
    sampler = BilateralSampler(Flowers(), seed=0)
    for epoch in range(3):
        uniform, reversed_ = draws(sampler, [epoch])
        assert sorted(uniform) == list(range(50))
        assert len(reversed_) == 50
    assert uniform.tolist() != sorted(uniform)


def test_the_others_are_drawn_as_often_as_the_paper_says():
    _, reversed_ = draws(BilateralSampler(Flowers(), seed=0), range(1000))
    assert chi_square(reversed_) < LIMIT


def draws_on_rank(rank, world_size, epochs, labels, round_up):
    sampler = BilateralSampler(Flowers(np.array(labels)), seed=4, round_up=round_up)
    return len(sampler), [part.tolist() for part in draws(sampler, range(epochs))]


def test_two_ranks_together_draw_every_item_once_and_the_others_as_the_paper_says(two_ranks):
    (size, first), (other_size, second) = two_ranks.run(draws_on_rank, 200, LABELS.tolist(), True)
    assert size == other_size == 50
    for epoch in range(200):
        part = slice(25 * epoch, 25 * (epoch + 1))
        assert sorted(first[0][part] + second[0][part]) == list(range(50))
    assert chi_square(first[1] + second[1]) < LIMIT


@pytest.mark.parametrize('round_up', [True, False])
def test_ranks_draw_what_one_process_draws(two_ranks, round_up):
    labels = LABELS[:49].tolist()
    (first_size, first), (second_size, second) = two_ranks.run(draws_on_rank, 1, labels, round_up)
    assert (first_size, second_size) == ((50, 50) if round_up else (50, 48))
    alone = draws(BilateralSampler(Flowers(LABELS[:49]), seed=4), [0])
    for ours, theirs, expected in zip(first, second, alone, strict=True):
        together = [item for pair in zip(ours, [*theirs, None], strict=False) for item in pair]
        assert together[:49] == expected.tolist()


def test_the_uniform_half_is_what_mmengine_draws():
    stock = DefaultSampler(Flowers(), shuffle=True, seed=7)
    stock.set_epoch(3)
    uniform, _ = draws(BilateralSampler(Flowers(), seed=7), [3])
    assert uniform.tolist() == list(stock)


def seed_on_rank(rank, world_size):
    return draws_of(BilateralSampler(Flowers()))


def draws_of(sampler):
    return sorted(list(sampler)[0::2])


def test_without_a_seed_ranks_agree_on_one(two_ranks):
    first, second = two_ranks.run(seed_on_rank)
    assert sorted(first + second) == list(range(50))


def test_epochs_and_seeds_draw_differently_and_each_alone_repeatably():
    found = {}
    for seed, epoch in ((0, 0), (0, 1), (5, 0)):
        sampler = BilateralSampler(Flowers(), seed=seed)
        sampler.set_epoch(epoch)
        found[seed, epoch] = list(sampler)
        assert list(sampler) == found[seed, epoch]
        assert len(sampler) == len(found[seed, epoch]) == 100
    for half in (0, 1):
        assert len({tuple(items[half::2]) for items in found.values()}) == 3


@pytest.mark.parametrize(
    ('labels', 'message'), [([], 'Flowers is empty'), ([0, -1], 'item 1 of Flowers has gt_label=-1')]
)
def test_data_without_classes_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        BilateralSampler(Flowers(labels))


def test_both_spellings_of_the_type_build_it():
    for name in ('BilateralSampler', 'mmrecall.BilateralSampler'):
        assert isinstance(DATA_SAMPLERS.build(dict(type=name, dataset=Flowers())), BilateralSampler)
