import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_runner import Flowers, Model, automatic, small_runner
from torch.utils.data import DataLoader

import mmrecall.engine.hooks.class_counts_hook as hooks
from mmrecall.datasets import LabelCounts
from mmrecall.engine import ClassCountsHook
from mmrecall.losses import RecallLoss, WeightedCrossEntropyLoss


@pytest.fixture
def counted(monkeypatch):
    """Every count of a data set, as it happens."""
    calls, count = [], hooks.count_labels

    def remember(dataset, *arguments, **options):
        calls.append(dataset)
        return count(dataset, *arguments, **options)

    monkeypatch.setattr(hooks, 'count_labels', remember)
    return calls


def counts(runner):
    return runner.model.loss_module.class_counts.counts.tolist()


def files(root):
    return list((root / 'work').glob('class_counts-*.json'))


def test_a_loss_that_waits_gets_the_counts_before_its_first_batch(tmp_path, counted):
    runner = small_runner(tmp_path, automatic())
    runner.train()
    assert counts(runner) == [5, 2, 1]
    assert len(counted) == 1
    assert len(runner.model.seen) == 4
    assert [LabelCounts.read(path).counts for path in files(tmp_path)] == [[5, 2, 1]]


def test_a_second_training_reads_the_file_of_the_first(tmp_path, counted):
    small_runner(tmp_path, automatic()).train()
    again = small_runner(tmp_path, automatic())
    again.train()
    assert len(counted) == 1
    assert counts(again) == [5, 2, 1]


def test_other_data_are_counted_anew(tmp_path, counted):
    small_runner(tmp_path, automatic()).train()
    other = small_runner(tmp_path, automatic(), dataset=Flowers([0, 1, 2, 2]))
    other.train()
    assert len(counted) == 2
    assert counts(other) == [1, 1, 2]
    assert len(files(tmp_path)) == 2


def test_a_resumed_training_has_its_counts_from_the_checkpoint(tmp_path, counted):
    small_runner(tmp_path, automatic()).train()
    for path in files(tmp_path):
        path.unlink()
    # other data, so that a count would show
    cfg = dict(by_epoch=True, max_epochs=3)
    resumed = small_runner(tmp_path, automatic(), dataset=Flowers([0, 1, 2, 2]), train_cfg=cfg, resume=True)
    resumed.train()
    assert len(resumed.model.seen) == 1
    assert counts(resumed) == [5, 2, 1]
    assert len(counted) == 1
    assert files(tmp_path) == []


def test_resuming_where_there_is_no_checkpoint_counts(tmp_path, counted):
    runner = small_runner(tmp_path, automatic(), resume=True)
    runner.train()
    assert counts(runner) == [5, 2, 1]


def test_a_resumed_loss_that_was_not_there_before_is_counted_for(tmp_path, counted):
    small_runner(tmp_path, RecallLoss()).train()
    assert counted == []
    resumed = small_runner(tmp_path, automatic(), resume=True, train_cfg=dict(by_epoch=True, max_epochs=3))
    resumed.train()
    assert counts(resumed) == [5, 2, 1]


def test_weights_that_are_only_loaded_do_not_bring_their_counts(tmp_path, counted):
    small_runner(tmp_path, automatic()).train()
    tuned = small_runner(
        tmp_path, automatic(), dataset=Flowers([0, 1, 2, 2]), load_from=str(tmp_path / 'work' / 'epoch_2.pth')
    )
    tuned.train()
    assert counts(tuned) == [1, 1, 2]
    assert len(counted) == 2


def test_classes_without_samples_are_said(tmp_path, caplog):
    runner = small_runner(tmp_path, automatic(), dataset=Flowers([0, 0, 2, 2]))
    runner.logger.addHandler(caplog.handler)
    runner.train()
    assert '1 of 3 classes are not in the training set: b. Is it the right list' in caplog.text


def test_counts_that_are_given_are_left_alone(tmp_path, counted):
    given = WeightedCrossEntropyLoss('inverse_frequency', class_counts=[1, 1, 8], num_classes=3)
    runner = small_runner(tmp_path, given, hooks=[ClassCountsHook()])
    runner.train()
    assert counted == []
    assert given.class_counts.read(3).counts == [1, 1, 8]


def test_a_loss_for_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"num_classes=3, but the training set has 2 classes: \['a', 'b'\]"):
        small_runner(tmp_path, automatic(), dataset=Flowers([0, 1], classes=('a', 'b'))).train()


class Head(torch.nn.Module):
    """What the hook looks at in a decode head of mmseg."""

    def __init__(self, ignore_index):
        super().__init__()
        self.ignore_index = ignore_index
        self.loss_decode = automatic()


def test_the_decode_heads_ignore_index_is_taken():
    assert hooks._ignore_index(torch.nn.ModuleList([Head(7), Head(7)])) == 7
    assert hooks._ignore_index(Model(automatic())) is None


def test_heads_that_ignore_different_labels_cannot_share_a_count():
    with pytest.raises(ValueError, match=r'different ignore_index: \[7, 255\]'):
        hooks._ignore_index(torch.nn.ModuleList([Head(255), Head(7)]))


def stand_in(root, labels):
    """What the hook asks of a runner, without the process group that a real one would start."""
    return SimpleNamespace(
        model=Model(automatic()),
        train_dataloader=DataLoader(Flowers(labels)),
        work_dir=str(root),
        logger=logging.getLogger('test'),
        _resume=False,
    )


def written_counts(root, classes):
    path = root / 'class_counts.json'
    LabelCounts(list(classes), [5, 2, 1], [5, 2, 1], None, 0, 8, 8, 'images').write(path)
    return str(path)


@pytest.mark.parametrize('given', [str, LabelCounts.read], ids=['file', 'result'])
def test_counts_of_the_classes_of_the_data_in_another_order_are_refused(given, tmp_path):
    counts = given(written_counts(tmp_path, 'acb'))
    runner = small_runner(tmp_path, WeightedCrossEntropyLoss('inverse_frequency', class_counts=counts))
    with pytest.raises(ValueError, match=r"class_counts.* the training set in another order.* class 1 is 'c' .* 'b'"):
        runner.train()
    assert runner.model.seen == []


@pytest.mark.parametrize(('classes', 'warned'), [('abc', []), ('abC', [True]), ('ab', [True])])
def test_counts_of_renamed_classes_are_taken_with_a_warning(classes, warned, tmp_path, monkeypatch):
    counts = written_counts(tmp_path, 'abc')
    loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts=counts)
    runner, warnings = small_runner(tmp_path, loss, dataset=Flowers(classes=tuple(classes))), []
    monkeypatch.setattr(runner.logger, 'warning', lambda message, *more: warnings.append(str(message)))
    runner.train()
    assert [counts in warning for warning in warnings if 'class names' in warning] == warned


def counts_on_a_rank(rank, world_size, root):
    # the others have no data
    runner = stand_in(Path(root), [0, 0, 1, 2, 2, 2] if rank == 0 else None)
    ClassCountsHook().before_train(runner)
    return counts(runner)


def test_all_ranks_get_what_the_first_counted(two_ranks, tmp_path):
    assert two_ranks.run(counts_on_a_rank, str(tmp_path)) == [[2, 1, 3], [2, 1, 3]]


def failure_on_a_rank(rank, world_size, root):
    try:
        ClassCountsHook().before_train(stand_in(Path(root), [0, 9]))
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def test_a_failure_on_the_first_rank_ends_all(two_ranks, tmp_path):
    first, other = two_ranks.run(failure_on_a_rank, str(tmp_path))
    assert first.startswith('ValueError: 1.jpg has the label 9')
    assert other == 'RuntimeError: counting the classes failed on rank 0; the error of rank 0 says why'
