from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import RepeatDataset
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner

from mmrecall.datasets import ClassProbabilitySampler, class_probabilities

LABELS = np.repeat([2, 0, 4, 3], [36, 9, 4, 1])  # no class 1
STRATEGIES = ['class_balanced', 'square_root', 'reversed', 'progressively_balanced']


class Flowers:
    """Stand-in for a data set of mmpretrain; an item is its index."""

    metainfo = dict(classes=('a', 'b', 'c', 'd', 'e'))

    def __init__(self, labels=LABELS):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return dict(gt_label=int(self.labels[index]))

    def __getitem__(self, index):
        return dict(index=index)


def sampler(strategy='class_balanced', labels=LABELS, **options):
    if strategy == 'progressively_balanced':
        options.setdefault('num_epochs', 10)
    return ClassProbabilitySampler(Flowers(labels), strategy, **{'seed': 0, **options})


def on_rank(rank, world_size, **options):
    found = sampler(**options)
    found.rank, found.world_size = rank, world_size
    size = len(LABELS)
    rounded = options.get('round_up', True)
    found.total_size = -(-size // world_size) * world_size if rounded else size
    return found


def expected(strategy, epoch):
    """Return the probability of every class by the formulas of the papers."""
    n = {0: 9, 2: 36, 3: 1, 4: 4}
    if strategy == 'class_balanced':
        return dict.fromkeys(n, 1 / 4)
    if strategy == 'square_root':
        return {j: n[j] ** 0.5 / (6 + 3 + 2 + 1) for j in n}
    if strategy == 'reversed':
        w = {j: 36 / n[j] for j in n}
        return {j: w[j] / sum(w.values()) for j in n}
    t = epoch / 10
    return {j: (1 - t) * n[j] / 50 + t * 1 / 4 for j in n}


@pytest.mark.parametrize(
    ('strategy', 'epoch'), [*((strategy, 3) for strategy in STRATEGIES), ('progressively_balanced', 0)]
)
def test_images_are_drawn_as_often_as_the_formula_says(strategy, epoch):
    drawn = np.zeros(50, np.int64)
    for seed in range(2000):
        draw = sampler(strategy, seed=seed)
        draw.set_epoch(epoch)
        np.add.at(drawn, list(draw), 1)
    total = drawn.sum()
    assert total == 2000 * 50
    shares = np.array([expected(strategy, epoch)[label] / np.sum(label == LABELS) for label in LABELS])
    # five standard deviations of a binomial: one of these numbers exceeds them in 30,000 samples
    assert (np.abs(drawn - total * shares) < 5 * np.sqrt(total * shares * (1 - shares))).all()


def test_the_progressive_strategy_goes_from_the_data_to_balance_and_stays_there():
    draw = sampler('progressively_balanced', seed=1, num_epochs=2)
    shares = [expected('progressively_balanced', 5 * epoch) for epoch in (0, 1, 2, 2)]
    for epoch, share in zip((0, 1, 2, 7), shares, strict=True):
        draw.set_epoch(epoch)
        draw.total_size = 100_000
        found = np.bincount(LABELS[list(draw)], minlength=5) / 100_000
        for label, wanted in share.items():
            assert abs(found[label] - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 100_000)


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 10**6), min_size=1).filter(any),
    strategy=st.sampled_from(STRATEGIES),
    progress=st.floats(0, 1),
)
def test_probabilities_sum_to_one_and_are_zero_for_empty_classes_alone(counts, strategy, progress):
    found = class_probabilities(counts, strategy, progress)
    assert found.sum() == pytest.approx(1)
    assert ((found > 0) == (np.array(counts) > 0)).all()


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 10**6), min_size=2))
def test_strategies_order_the_classes_by_their_counts(counts):
    counts = sorted(counts)
    for strategy, sign in (('square_root', 1), ('reversed', -1), ('class_balanced', 0)):
        steps = np.diff(class_probabilities(counts, strategy))
        grows = np.diff(counts) > 0
        assert (np.sign(steps[grows]) == sign).all()
        assert (steps[~grows] == 0).all()


@settings(deadline=None)
@given(
    world_size=st.integers(1, 7),
    round_up=st.booleans(),
    strategy=st.sampled_from(STRATEGIES),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 20),
)
def test_ranks_share_one_drawing(world_size, round_up, strategy, seed, epoch):
    ranks = [on_rank(rank, world_size, strategy=strategy, seed=seed, round_up=round_up) for rank in range(world_size)]
    for draw in ranks:
        draw.set_epoch(epoch)
    parts = [list(draw) for draw in ranks]
    assert [len(part) for part in parts] == [len(draw) for draw in ranks]
    if round_up:
        assert len({len(part) for part in parts}) == 1
    together = [None] * sum(map(len, parts))
    for rank, part in enumerate(parts):
        together[rank::world_size] = part
    alone = sampler(strategy, seed=seed)
    alone.set_epoch(epoch)
    # the first 50 draws do not depend on the number of ranks
    assert together[:50] == list(alone)
    assert len(together) == (-(-50 // world_size) * world_size if round_up else 50)


def draw_in_group(rank, world_size, round_up):
    draw = ClassProbabilitySampler(Flowers(LABELS[:49]), 'square_root', round_up=round_up)
    return draw.seed, len(draw), list(draw)


@pytest.mark.parametrize('round_up', [True, False])
def test_ranks_of_a_group_agree_on_a_seed_and_draw_what_one_process_draws(two_ranks, round_up):
    (seed, first_size, first), (other_seed, second_size, second) = two_ranks.run(draw_in_group, round_up)
    assert seed == other_seed
    assert (first_size, second_size) == (len(first), len(second)) == ((25, 25) if round_up else (25, 24))
    alone = list(sampler('square_root', LABELS[:49], seed=seed))
    together = [index for pair in zip(first, [*second, None], strict=False) for index in pair]
    assert together[:49] == alone


def test_epochs_and_seeds_draw_differently_and_each_alone_repeatably():
    draws = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        draw = sampler(seed=seed)
        draw.set_epoch(epoch)
        draws.append(list(draw))
        assert list(draw) == draws[-1]
    assert all(a != b for a, b in pairwise([*draws, draws[0]]))


def test_wrapped_data_are_drawn_through_the_wrapper():
    from mmengine.dataset import BaseDataset

    class Listed(BaseDataset):
        def load_data_list(self):
            return [dict(gt_label=int(label)) for label in LABELS]

    draw = ClassProbabilitySampler(RepeatDataset(Listed(), 3), 'reversed', seed=0)
    assert len(draw) == 150
    assert max(draw) > 100
    # the rarest class has the items 49, 99 and 149
    assert np.isin(list(draw), [49, 99, 149]).mean() > 0.5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(strategy='balanced'), "got strategy='balanced'; expected one of 'class_balanced'"),
        (dict(strategy='progressively_balanced', num_epochs=None), 'num_epochs=None; expected num_epochs'),
        (dict(strategy='reversed', num_epochs=5), "got strategy='reversed' with num_epochs=5"),
        (dict(strategy='progressively_balanced', num_epochs=0), 'got num_epochs=0; expected the epochs'),
        (dict(labels=[]), 'Flowers is empty'),
        (dict(labels=[0, -1]), 'item 1 of Flowers has gt_label=-1'),
    ],
)
def test_what_cannot_be_drawn_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        sampler(**options)


def test_both_spellings_of_the_type_build_it():
    for name in ('ClassProbabilitySampler', 'mmrecall.ClassProbabilitySampler'):
        built = DATA_SAMPLERS.build(dict(type=name, dataset=Flowers(), strategy='reversed', seed=3))
        assert isinstance(built, ClassProbabilitySampler)


class Model(BaseModel):
    """Model of one number that does not depend on the data."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, index, mode='loss', **others):
        return dict(loss=self.weight.sum())


class Seen(Hook):
    """Hook that records the items of every iteration."""

    def __init__(self):
        self.items = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.items.append(data_batch['index'])


LOOPS = {
    'epochs': (dict(by_epoch=True, max_epochs=3), dict(by_epoch=True, interval=1), 'epoch_1.pth', 13),
    # four passes of 13 batches; resumed within the second
    'iterations': (dict(by_epoch=False, max_iters=30), dict(by_epoch=False, interval=17), 'iter_17.pth', 17),
}


PROGRESSIVE = dict(type='mmrecall.ClassProbabilitySampler', strategy='progressively_balanced', num_epochs=3)


def train(work_dir, loop, checkpoint, loader=None, hooks=(), **options):
    """Return the items of every batch, by default of the flowers."""
    seen = Seen()
    runner = Runner(
        model=Model(),
        work_dir=str(work_dir),
        train_dataloader=dict(batch_size=4, **(loader or dict(num_workers=0, dataset=Flowers(), sampler=PROGRESSIVE))),
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', **checkpoint)),
        custom_hooks=[seen, *hooks],
        randomness=dict(seed=5),
        experiment_name=f'{work_dir.parent.name}-{work_dir.name}',
        **options,
    )  # fmt: skip
    runner.train()
    if runner.train_dataloader.persistent_workers:
        # Garbage collection would wait five seconds for every worker.
        runner.train_dataloader._iterator._shutdown_workers()
    return seen.items


@pytest.mark.parametrize('loop', LOOPS)
def test_a_resumed_training_sees_what_an_uninterrupted_one_saw(loop, tmp_path, monkeypatch):
    # the loop over iterations waits two seconds after every pass
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    train_cfg, checkpoint, file, done = LOOPS[loop]
    whole = train(tmp_path / 'whole', train_cfg, checkpoint)
    resumed = train(tmp_path / 'resumed', train_cfg, checkpoint, resume=True, load_from=str(tmp_path / 'whole' / file))
    assert len(whole) == (39 if loop == 'epochs' else 30)
    assert resumed == whole[done:]
    passes = [[index for batch in whole[start : start + 13] for index in batch] for start in (0, 13)]
    for epoch, items in enumerate(passes):
        draw = sampler('progressively_balanced', num_epochs=3, seed=5)
        draw.set_epoch(epoch)
        assert items == list(draw)
