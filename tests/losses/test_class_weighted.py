"""Options of the class weights, which every loss with class weights takes alike."""

import json
import math

import pytest
import torch
from oracle import random_batch

from mmrecall.functional import (
    inverse_frequency_weights,
    lovasz_softmax_loss,
    soft_dice_loss,
    soft_iou_loss,
    tempered_weights,
    tversky_loss,
    weighted_cross_entropy,
)
from mmrecall.functional.statistics import ClassStatistics
from mmrecall.losses import (
    LDAMLoss,
    LovaszSoftmaxLoss,
    SoftDiceLoss,
    SoftIoULoss,
    SoftTverskyLoss,
    WeightedCrossEntropyLoss,
)
from mmrecall.losses.fixed_weights import SCHEMES

COUNTS = [700, 90, 40, 5]
NAMES = ('road', 'car', 'pole', 'sign')
REGION = {
    SoftTverskyLoss: tversky_loss,
    SoftDiceLoss: soft_dice_loss,
    SoftIoULoss: soft_iou_loss,
    LovaszSoftmaxLoss: lovasz_softmax_loss,
}
# one of each way to reach the options, which Dice and IoU hand to Tversky
WEIGHTED = (SoftTverskyLoss, LovaszSoftmaxLoss, WeightedCrossEntropyLoss, LDAMLoss)
STATISTICS = ClassStatistics(*3 * [torch.ones(4, dtype=torch.long)])


def counted(cls, class_weight, **options):
    return cls(class_weight=class_weight, class_counts=COUNTS, **options)


def weights_of(loss):
    return loss.class_weights(STATISTICS)


def value(loss, **options):
    logits, target = random_batch((2, 4, 6), 0.2)
    return loss(logits, target, ignore_index=255, **options)


@pytest.mark.parametrize('cls', WEIGHTED)
def test_the_square_root_of_the_frequency_is_power_one_half(cls):
    roots = [1 / math.sqrt(count) for count in COUNTS]
    weights = weights_of(counted(cls, 'inverse_frequency', power=0.5))
    assert weights.tolist() == pytest.approx([4 * root / sum(roots) for root in roots])


def test_enet_is_a_scheme():
    expected = [1 / math.log(1.02 + count / sum(COUNTS)) for count in COUNTS]
    weights = weights_of(counted(WeightedCrossEntropyLoss, 'enet'))
    assert weights.tolist() == pytest.approx([4 * one / sum(expected) for one in expected])


@pytest.mark.parametrize(
    ('cls', 'scheme'),
    [
        *((cls, 'enet') for cls in (*REGION, LDAMLoss)),
        *((WeightedCrossEntropyLoss, scheme) for scheme in SCHEMES),
    ],
)
def test_every_loss_and_scheme_takes_power_and_bounds(cls, scheme):
    plain = weights_of(counted(cls, scheme))
    found = weights_of(counted(cls, scheme, power=0.8, min_weight=0.2, max_weight=1.5))
    torch.testing.assert_close(found, tempered_weights(plain, 0.8, 0.2, 1.5))
    assert (found.min(), found.max()) == (0.2, 1.5)


def test_power_one_half_is_the_loss_with_those_weights():
    weights = tempered_weights(inverse_frequency_weights(torch.tensor(COUNTS)), 0.5)
    logits, target = random_batch((2, 4, 6), 0.2)
    expected = weighted_cross_entropy(logits, target, weights, ignore_index=255)
    loss = WeightedCrossEntropyLoss('inverse_frequency', COUNTS, power=0.5)
    torch.testing.assert_close(loss(logits, target, ignore_index=255), expected)


@pytest.mark.parametrize('cls', [SoftTverskyLoss, WeightedCrossEntropyLoss])
def test_a_class_without_samples_weighs_nothing_or_the_smallest_weight(cls):
    options = dict(class_weight='inverse_frequency', class_counts=[90, 0, 10, 1], power=0.5)
    assert weights_of(cls(**options))[1] == 0
    assert weights_of(cls(**options, min_weight=0.3))[1] == 0.3


@pytest.mark.parametrize(
    ('cls', 'option', 'class_weight'),
    [
        (WeightedCrossEntropyLoss, dict(power=0.5), [1.0, 2.0, 3.0, 4.0]),
        (WeightedCrossEntropyLoss, dict(min_weight=0.1), {0: 2.0}),
        (WeightedCrossEntropyLoss, dict(max_weight=2.0), None),
        (SoftTverskyLoss, dict(power=0.5), None),
        (LDAMLoss, dict(power=0.5), None),
    ],
)
def test_power_and_bounds_without_a_scheme_are_refused(cls, option, class_weight):
    counts = dict(class_counts=COUNTS) if cls is LDAMLoss else {}
    ((name, number),) = option.items()
    with pytest.raises(ValueError, match=rf'got .*{name}={number}.*which is used as it is; set class_weight to one of'):
        cls(class_weight=class_weight, **option, **counts)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(power=2), ValueError, 'power=2; expected a number from 0'),
        (dict(power=None), TypeError, 'power=None; expected a number'),
        (dict(min_weight=2, max_weight=1), ValueError, 'got min_weight=2 and max_weight=1'),
        (dict(max_weight=-1), ValueError, 'max_weight=-1; expected a number above 0'),
    ],
)
def test_powers_and_bounds_that_are_none_are_named(options, error, message):
    with pytest.raises(error, match=message):
        counted(WeightedCrossEntropyLoss, 'enet', **options)


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('square_root', "or a file; for weights 1 / sqrt(count) set class_weight='inverse_frequency' and power=0.5"),
        ('inverse_sqrt', "set class_weight='inverse_frequency' and power=0.5"),
        ('ENet', "or a file; similar: 'enet'"),
        ('Inverse-Frequency', "similar: 'inverse_frequency'"),
        ('median', "similar: 'median_frequency'"),
        ('weights.json', 'or a file'),
    ],
)
def test_a_misspelt_scheme_is_answered_with_the_one_that_is_meant(name, hint):
    with pytest.raises(FileNotFoundError) as caught:
        counted(WeightedCrossEntropyLoss, name)
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize('cls', REGION)
def test_a_region_loss_takes_class_weights_in_every_spelling(cls, tmp_path):
    logits, target = random_batch((2, 4, 6), 0.2)
    weights = [0.5, 1.0, 2.0, 3.0]
    by_name = {'road': 0.5, 'pole': 2.0, 'sign': 3.0}
    (tmp_path / 'weights.json').write_text(json.dumps(by_name))
    expected = REGION[cls](logits, target, ignore_index=255, class_weight=torch.tensor(weights))
    for class_weight in (weights, by_name, {0: 0.5, 2: 2.0, 3: 3.0}, str(tmp_path / 'weights.json')):
        loss = cls(class_weight=class_weight, class_names=NAMES)
        torch.testing.assert_close(loss(logits, target, ignore_index=255), expected)


@pytest.mark.parametrize('cls', REGION)
def test_a_region_loss_takes_schemes_of_given_and_of_automatic_counts(cls, tmp_path):
    logits, target = random_batch((2, 4, 6), 0.2)
    weights = inverse_frequency_weights(torch.tensor(COUNTS))
    expected = REGION[cls](logits, target, ignore_index=255, class_weight=weights)
    (tmp_path / 'counts.json').write_text(json.dumps(dict(classes=NAMES, counts=COUNTS)))
    for counts in (COUNTS, str(tmp_path / 'counts.json')):
        loss = cls(class_weight='inverse_frequency', class_counts=counts, class_names=NAMES)
        torch.testing.assert_close(loss(logits, target, ignore_index=255), expected)
    automatic = cls(class_weight='inverse_frequency', class_counts='auto', num_classes=4)
    with pytest.raises(ValueError, match='has not been counted yet'):
        automatic(logits, target, ignore_index=255)
    automatic.class_counts.set(COUNTS)
    torch.testing.assert_close(automatic(logits, target, ignore_index=255), expected)
    other = cls(class_weight='inverse_frequency', class_counts='auto', num_classes=4)
    other.load_state_dict(automatic.state_dict())
    torch.testing.assert_close(other(logits, target, ignore_index=255), expected)


@pytest.mark.parametrize('cls', REGION)
def test_a_region_loss_without_class_weights_has_no_state_and_names_none(cls):
    assert not cls().state_dict()
    assert weights_of(cls()) is None


@pytest.mark.parametrize('cls', REGION)
def test_reweighting_off_is_a_region_loss_without_weights(cls):
    loss = counted(cls, 'effective_number')
    weighted = value(loss)
    loss.reweighting = False
    torch.testing.assert_close(value(loss), value(cls()))
    loss.reweighting = True
    torch.testing.assert_close(value(loss), weighted)
    assert weighted != value(cls())


@pytest.mark.parametrize('cls', [SoftTverskyLoss, LovaszSoftmaxLoss])
@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(class_weight='inverse_frequency'), ValueError, 'without class_counts'),
        (
            dict(class_weight={'pole': 2.0}, num_classes=4),
            ValueError,
            'in a region loss class_names',
        ),
        (
            dict(class_weight={'bus': 2.0}, class_names=NAMES),
            ValueError,
            r"class_weight\['bus'\]; expected one of the classes",
        ),
        (dict(class_weight=[1.0, 2.0], num_classes=4), ValueError, '2 entries.*expected 4'),
        (dict(class_counts=COUNTS), ValueError, 'got class_counts and class_weight=None'),
        (dict(class_weight=[-1.0, 1.0]), ValueError, 'class_weight=.*expected weights that are finite and at least 0'),
        (dict(classes=NAMES), ValueError, r"classes=\('road'.*expected one of 'present', 'all'"),
        (dict(class_names=NAMES, num_classes=3), ValueError, 'num_classes=3, but 4 names in class_names'),
        (dict(class_names='road'), TypeError, "class_names='road'; expected a list of the class names"),
        (dict(no_object_weight=0.1), TypeError, "got 'no_object_weight', which is no option of"),
    ],
)
def test_bad_options_of_a_region_loss_are_named(cls, options, error, message):
    with pytest.raises(error, match=message):
        cls(**options)


def test_weights_for_another_number_of_channels_are_named():
    with pytest.raises(ValueError, match=r'4 channels.*for 2 classes'):
        value(SoftDiceLoss(class_weight=[1.0, 2.0]))
