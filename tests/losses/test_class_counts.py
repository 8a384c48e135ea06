import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import random_batch

from mmrecall.functional import (
    effective_number_weights,
    inverse_frequency_weights,
    ldam_loss,
    ldam_margins,
    median_frequency_weights,
    weighted_cross_entropy,
)
from mmrecall.losses import (
    BalancedLogitVariationLoss,
    ClassCounts,
    LDAMLoss,
    LogitAdjustedLoss,
    RecallLoss,
    WeightedCrossEntropyLoss,
)
from mmrecall.losses.class_counts import CountedClasses

pytestmark = pytest.mark.usefixtures('fused_however_small')

COUNTS = [700, 90, 40, 5]
TOTALS = [1000, 1000, 200, 10]


def loss_with(weights, **options):
    logits, target = random_batch()
    return weighted_cross_entropy(logits, target, weights, ignore_index=255, **options)


def loss_of(module):
    logits, target = random_batch()
    return module(logits, target, ignore_index=255)


@pytest.fixture
def file(tmp_path):
    """Writes content to a file of a name and gives its path."""

    def write(name, content):
        path = tmp_path / name
        if name.endswith('.npy'):
            np.save(path, np.array(content))
        else:
            path.write_text(json.dumps(content))
        return str(path)

    return write


def test_the_mean_with_class_weights_is_that_of_pytorch():
    logits, target = random_batch()
    weights = [0.5, 2.0, 0.0, 1.25]
    expected = F.cross_entropy(logits, target, torch.tensor(weights).double(), ignore_index=255)
    torch.testing.assert_close(loss_of(WeightedCrossEntropyLoss(weights)), expected)
    margins = ldam_margins(torch.tensor(COUNTS))
    adjusted = logits - F.one_hot(target.where(target != 255, 0), 4).movedim(-1, 1) * margins.reshape(4, 1, 1)
    expected = F.cross_entropy(30 * adjusted, target, torch.tensor(weights).double(), ignore_index=255)
    torch.testing.assert_close(loss_of(LDAMLoss(COUNTS, scale=30.0, class_weight=weights)), expected)


def test_the_mean_without_class_weights_is_that_over_the_valid_samples():
    logits, target = random_batch()
    expected = F.cross_entropy(logits, target, ignore_index=255)
    torch.testing.assert_close(loss_of(WeightedCrossEntropyLoss()), expected)
    torch.testing.assert_close(loss_of(LDAMLoss(COUNTS, max_margin=0.0)), expected)


@pytest.mark.parametrize('name', ['counts.json', 'counts.yaml', 'counts.npy'])
def test_counts_come_from_a_list_or_a_file_of_one(name, file):
    expected = loss_with(inverse_frequency_weights(torch.tensor(COUNTS)))
    for source in (COUNTS, tuple(COUNTS), file(name, COUNTS)):
        loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts=source)
        torch.testing.assert_close(loss_of(loss), expected)


def test_a_file_of_the_statistics_tool_brings_the_totals_for_the_median_frequency(file):
    path = file('counts.json', dict(classes=list('abcd'), counts=COUNTS, image_totals=TOTALS))
    loss = WeightedCrossEntropyLoss('median_frequency', class_counts=path, classes=list('abcd'))
    expected = median_frequency_weights(torch.tensor(COUNTS), torch.tensor(TOTALS))
    torch.testing.assert_close(loss_of(loss), loss_with(expected))


@pytest.mark.parametrize(('beta', 'normalizer'), [(None, 'weight'), (0.99, 'valid'), (0.0, 'all')])
def test_effective_number_takes_its_beta_and_the_normalizer(beta, normalizer):
    loss = WeightedCrossEntropyLoss('effective_number', class_counts=COUNTS, beta=beta, normalizer=normalizer)
    weights = effective_number_weights(torch.tensor(COUNTS), beta)
    torch.testing.assert_close(loss_of(loss), loss_with(weights, normalizer=normalizer))


def test_weights_come_from_a_list_a_dict_by_name_or_index_or_a_file(file):
    weights, names = [0.5, 1.0, 2.0, 3.0], ('road', 'car', 'pole', 'sign')
    by_name = {'road': 0.5, 'pole': 2.0, 'sign': 3.0}
    expected = loss_with(torch.tensor(weights).double())
    for class_weight in (
        weights, by_name, {0: 0.5, 2: 2.0, 3: 3.0}, file('list.json', weights), file('names.yaml', by_name),
        file('array.npy', weights),
    ):  # fmt: skip
        torch.testing.assert_close(loss_of(WeightedCrossEntropyLoss(class_weight, classes=names)), expected)


def test_without_weights_it_is_cross_entropy():
    torch.testing.assert_close(loss_of(WeightedCrossEntropyLoss()), loss_with(None))


def test_automatic_counts_are_waited_for_then_used():
    loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts='auto', num_classes=4)
    with pytest.raises(ValueError, match=r"custom_hooks=\[dict\(type='mmrecall.ClassCountsHook'\)\]"):
        loss_of(loss)
    loss.class_counts.set(COUNTS)
    torch.testing.assert_close(loss_of(loss), loss_with(inverse_frequency_weights(torch.tensor(COUNTS))))
    loss.class_counts.set([1, 1, 1, 1])
    torch.testing.assert_close(loss_of(loss), loss_with(None))


def test_automatic_counts_are_in_the_checkpoint_and_survive_half():
    loss = WeightedCrossEntropyLoss('median_frequency', class_counts='auto', num_classes=4)
    loss.class_counts.set([2**40, 90, 40, 5], [2**41, 1000, 200, 10])
    other = WeightedCrossEntropyLoss('median_frequency', class_counts='auto', num_classes=4)
    other.load_state_dict(torch.nn.Sequential(loss).half()[0].state_dict())
    assert other.class_counts.known
    assert other.class_counts.read(4) == CountedClasses([2**40, 90, 40, 5], [2**41, 1000, 200, 10])


def test_a_checkpoint_without_counts_leaves_them_unknown():
    loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts='auto', num_classes=4)
    loss.load_state_dict(loss.state_dict())
    assert not loss.class_counts.known


def test_given_counts_are_no_state():
    assert not WeightedCrossEntropyLoss('inverse_frequency', class_counts=COUNTS).state_dict()


def test_an_averaged_model_copies_the_counts():
    averaged_model = pytest.importorskip('mmengine.model').ExponentialMovingAverage
    for update_buffers in (False, True):
        loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts='auto', num_classes=4)
        model = torch.nn.Sequential(torch.nn.Linear(2, 4), loss)
        averaged = averaged_model(model, update_buffers=update_buffers)
        loss.class_counts.set(COUNTS)
        averaged.update_parameters(model)
        torch.testing.assert_close(loss_of(averaged.module[1]), loss_of(loss))


AVERAGED_MODELS = [('mmengine.model', 'ExponentialMovingAverage'), ('torch.optim.swa_utils', 'AveragedModel')]


@pytest.mark.parametrize(
    'class_of_loss', [WeightedCrossEntropyLoss, LDAMLoss, LogitAdjustedLoss, BalancedLogitVariationLoss]
)
@pytest.mark.parametrize(('package', 'name'), AVERAGED_MODELS)
def test_an_averaged_model_that_was_used_before_follows_the_counts(package, name, class_of_loss):
    averaged_model = getattr(pytest.importorskip(package), name)
    # so large a sigma leaves nothing to chance
    options = {
        WeightedCrossEntropyLoss: dict(class_weight='inverse_frequency'),
        BalancedLogitVariationLoss: dict(sigma=1e12),
    }
    loss = class_of_loss(class_counts='auto', num_classes=4, **options.get(class_of_loss, {}))
    loss.class_counts.set([5, 40, 90, 700])
    model = torch.nn.Sequential(torch.nn.Linear(2, 4), loss)
    averaged = averaged_model(model)
    before = loss_of(averaged.module[1])
    loss.class_counts.set(COUNTS)
    averaged.update_parameters(model)
    assert loss_of(averaged.module[1]) == loss_of(loss) != before


def with_no_object():
    """Five channels, of which the last is no class of the data."""
    return random_batch((30, 5), 0.2)


@pytest.mark.parametrize(
    ('options', 'weights'),
    [
        (dict(class_weight='inverse_frequency', class_counts=COUNTS), inverse_frequency_weights(torch.tensor(COUNTS))),
        (dict(class_weight=[0.5, 2.0, 0.0, 1.25]), torch.tensor([0.5, 2.0, 0.0, 1.25])),
        (dict(class_weight={'d': 3.0}, classes=('a', 'b', 'c', 'd')), torch.tensor([1.0, 1.0, 1.0, 3.0])),
        (dict(), torch.ones(4)),
    ],
)
def test_no_object_is_a_class_more_with_a_weight_of_its_own(options, weights):
    logits, target = with_no_object()
    loss = WeightedCrossEntropyLoss(**options, no_object_weight=0.1, normalizer='weight')
    expected = F.cross_entropy(logits, target, torch.tensor([*weights.tolist(), 0.1]).double(), ignore_index=255)
    torch.testing.assert_close(loss(logits, target, ignore_index=255), expected)


def test_automatic_counts_are_those_of_the_data_without_no_object():
    loss = WeightedCrossEntropyLoss('inverse_frequency', 'auto', num_classes=4, no_object_weight=0.1)
    loss.class_counts.set(COUNTS)
    given = WeightedCrossEntropyLoss('inverse_frequency', COUNTS, no_object_weight=0.1)
    logits, target = with_no_object()
    torch.testing.assert_close(loss(logits, target, ignore_index=255), given(logits, target, ignore_index=255))
    with pytest.raises(ValueError, match='4 channels, in a loss for 5 classes'):
        loss(*random_batch())
    with pytest.raises(ValueError, match='no_object_weight=-1'):
        WeightedCrossEntropyLoss(no_object_weight=-1)


def test_deferred_weights_leave_that_of_no_object():
    loss = WeightedCrossEntropyLoss('inverse_frequency', COUNTS, no_object_weight=0.1)
    loss.reweighting = False
    logits, target = with_no_object()
    expected = F.cross_entropy(logits, target, torch.tensor([1, 1, 1, 1, 0.1]).double(), ignore_index=255)
    torch.testing.assert_close(loss(logits, target, ignore_index=255), expected)


def test_reweighting_off_is_a_weight_of_one():
    for cls, plain in (
        (WeightedCrossEntropyLoss, loss_with(None)),
        (LDAMLoss, ldam_loss(*random_batch(), torch.tensor(COUNTS), ignore_index=255)),
    ):
        loss = cls(class_weight='effective_number', class_counts=COUNTS, beta=0.999)
        weighted = loss_of(loss)
        loss.reweighting = False
        torch.testing.assert_close(loss_of(loss), plain)
        loss.reweighting = True
        torch.testing.assert_close(loss_of(loss), weighted)
        assert weighted != plain


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(class_weight='inverse_frequency'), ValueError, 'without class_counts'),
        (
            dict(class_weight='inverse'),
            FileNotFoundError,
            "class_weight='inverse'; expected one of 'inverse_freq.*, or a file",
        ),
        (
            dict(class_weight='inverse_frequency', class_counts='no.json'),
            FileNotFoundError,
            "class_counts='no.json'; expected 'auto', or a file",
        ),
        (dict(class_weight='inverse_frequency', class_counts='auto'), ValueError, 'set num_classes'),
        (
            dict(class_weight='inverse_frequency', class_counts=[1, 2], num_classes=3),
            ValueError,
            '2 entries; expected 3',
        ),
        (dict(class_weight='inverse_frequency', class_counts=[1, -2]), ValueError, 'at least 0'),
        (dict(class_weight='inverse_frequency', class_counts=[0, 0]), ValueError, 'not all 0'),
        (dict(class_weight=[1, 2], num_classes=3), ValueError, '2 entries.*expected 3'),
        (
            dict(class_weight='inverse_frequency', class_counts=[1, 2], beta=0.9),
            ValueError,
            "beta=0.9 .*expected class_weight='effective_number'",
        ),
        (dict(class_weight='effective_number', class_counts=[1, 2], beta=1.0), ValueError, 'beta=1.0'),
        (dict(class_weight='inverse_frequency', class_counts={0: 900, 1: 100}), ValueError, 'one number per class'),
        (dict(class_weight='inverse_frequency', class_counts=[[1, 2]]), ValueError, 'one number per class'),
        (dict(class_weight='inverse_frequency', class_counts=7), ValueError, 'one number per class'),
        (dict(class_counts=[1, 2]), ValueError, 'got class_counts and class_weight=None'),
        (dict(class_weight=[1.0, 2.0], class_counts=[1, 2]), ValueError, 'got class_counts and class_weight=.1'),
        (dict(normalizer='pixels'), ValueError, "normalizer='pixels'"),
    ],
)
def test_bad_options_are_named_when_the_loss_is_built(options, error, message):
    with pytest.raises(error, match=message):
        WeightedCrossEntropyLoss(**options)


def test_files_that_hold_no_counts_are_named(file, tmp_path):
    (tmp_path / 'broken.json').write_text('{"counts": [1,')
    for path, message in (
        (file('a.json', dict(weights=[1])), r"a.json: got \['weights'\]; expected 'counts'"),
        (file('b.json', dict(classes=['x', 'y'], counts=[1, 2])), r"b.json: got counts of the classes \['x', 'y'\]"),
        (str(tmp_path / 'broken.json'), 'broken.json cannot be read'),
        (file('d.json', dict(counts={'a': 1})), 'd.json: got .* expected one number per class'),
        (file('e.json', dict(counts=[1, 2], image_totals=[9])), '2 counts, but 1 image_totals'),
        (file('c.txt', [1]), 'expected a file that ends with .json'),
    ):
        with pytest.raises(ValueError, match=message):
            LogitAdjustedLoss(class_counts=path, classes=['a', 'b'])


def test_counts_for_another_number_of_channels_are_named():
    with pytest.raises(ValueError, match=r'4 channels.*for 2 classes'):
        loss_of(LogitAdjustedLoss(class_counts=[1, 2]))
    with pytest.raises(ValueError, match=r'4 channels.*for 3 classes'):
        loss_of(WeightedCrossEntropyLoss([1.0, 2.0, 3.0]))


def test_only_automatic_counts_are_filled_in():
    with pytest.raises(ValueError, match='that are given'):
        ClassCounts(COUNTS).set(COUNTS)


def test_counts_may_be_a_numpy_array():
    loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts=np.array(COUNTS))
    torch.testing.assert_close(loss_of(loss), loss_with(inverse_frequency_weights(torch.tensor(COUNTS))))


def test_weights_by_index_come_from_json_too(file):
    loss = WeightedCrossEntropyLoss(file('weights.json', {'0': 0.5, '2': 2.0, '3': 3.0}))
    torch.testing.assert_close(loss_of(loss), loss_with(torch.tensor([0.5, 1.0, 2.0, 3.0]).double()))


def test_a_file_that_holds_neither_a_list_nor_a_dict_is_named(file):
    with pytest.raises(ValueError, match=r'word.yaml; expected a list or a dict'):
        WeightedCrossEntropyLoss(file('word.yaml', 'effective_number'))


def test_recall_loss_takes_no_scheme_of_counts():
    with pytest.raises(ValueError, match='use WeightedCrossEntropyLoss'):
        RecallLoss(class_weight='inverse_frequency')


def test_a_first_call_in_inference_mode_does_not_spoil_training():
    loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts=COUNTS)
    logits, target = random_batch()
    with torch.inference_mode():
        loss(logits, target, ignore_index=255)
    loss(logits.requires_grad_(), target, ignore_index=255).backward()
    assert logits.grad.isfinite().all()


def test_a_weight_of_no_object_alone_is_pytorchs_weighted_mean():
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 2, 2])
    loss = WeightedCrossEntropyLoss(no_object_weight=0.1, num_classes=2)
    expected = torch.nn.functional.cross_entropy(logits, target, torch.tensor([1.0, 1.0, 0.1]))
    torch.testing.assert_close(loss(logits, target), expected)
    assert not loss.is_cross_entropy
    assert not WeightedCrossEntropyLoss.is_plain_config(dict(no_object_weight=0.1))
