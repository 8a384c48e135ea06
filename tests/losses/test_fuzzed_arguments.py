"""What fuzzing the arguments of the losses found, and some hundred examples of it: see tests/fuzz/loss_arguments.py."""

import numpy as np
import pytest
import torch
from every_loss import CLASSES, LOSSES, make
from fuzz.loss_arguments import loss_arguments
from hypothesis import HealthCheck, Phase, settings

from mmrecall.losses import (
    BalancedLogitVariationLoss,
    BalancedSoftmaxLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    LovaszSoftmaxLoss,
    OHEMCrossEntropyLoss,
    RecallLoss,
    SoftDiceLoss,
    SoftIoULoss,
    SoftmaxFocalLoss,
    SoftTverskyLoss,
    WeightedCrossEntropyLoss,
)

test_any_arguments_are_refused_by_name_or_give_a_loss_to_train_with = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)(loss_arguments)

INFINITY, NOT_A_NUMBER = float('inf'), float('nan')


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(num_classes='4'), TypeError, "num_classes='4'; expected an integer"),
        (dict(num_classes=4.0), TypeError, r'num_classes=4\.0; expected an integer'),
        (dict(ignore_index='255'), TypeError, "ignore_index='255'; expected an integer"),
        (dict(loss_weight='0.4'), TypeError, "loss_weight='0.4'; expected a number"),
        (dict(loss_weight=NOT_A_NUMBER), ValueError, 'loss_weight=nan; expected a finite'),
        (
            dict(ignore_index=2**70),
            ValueError,
            r'ignore_index=1180591620717411303424; expected an integer below 2\*\*63',
        ),
        (dict(loss_name=None), ValueError, 'loss_name=None'),
        (dict(reduction=np.array([1, 2])), ValueError, r'reduction=array\(\[1, 2\]\)'),
        (dict(sync='no'), TypeError, "sync='no'; expected True or False"),
    ],
)
def test_a_common_option_of_another_type_is_named(name, options, error, message):
    with pytest.raises(error, match=message):
        make(name, **options)


@pytest.mark.parametrize(
    ('cls', 'options', 'error', 'message'),
    [
        (RecallLoss, dict(alpha='0.9'), TypeError, "alpha='0.9'; expected a number"),
        (RecallLoss, dict(fn_floor=None), TypeError, 'fn_floor=None; expected a number'),
        (RecallLoss, dict(fn_floor=INFINITY), ValueError, 'fn_floor=inf; expected a finite'),
        (RecallLoss, dict(class_weight=5), ValueError, 'class_weight: got 5; expected one number per class'),
        (
            RecallLoss,
            dict(class_weight=['a', 'b']),
            ValueError,
            r"class_weight: got .*'a'.*expected one number per class",
        ),
        (RecallLoss, dict(class_weight=[[1.0, 2.0]]), ValueError, r'class_weight: got \[\[1.*expected one number'),
        (RecallLoss, dict(class_weight={0: 'wide'}), TypeError, r"class_weight\[0\]='wide'"),
        (
            RecallLoss,
            dict(class_weight=torch.tensor(2.0)),
            ValueError,
            r'class_weight: got tensor\(2.*expected one number',
        ),
        (
            WeightedCrossEntropyLoss,
            dict(class_counts=[['a']], class_weight='median_frequency'),
            ValueError,
            'class_counts',
        ),
        (WeightedCrossEntropyLoss, dict(classes=3), TypeError, 'classes=3; expected a list of the class names'),
        (RecallLoss, dict(classes=('a', 'b'), num_classes=np.ones(2)), TypeError, r'num_classes=array\(\[1'),
        (WeightedCrossEntropyLoss, dict(classes='road'), TypeError, "classes='road'"),
        (WeightedCrossEntropyLoss, dict(class_weight=np.ones(3), beta=0.9), ValueError, 'got beta=0.9'),
        (
            WeightedCrossEntropyLoss,
            dict(class_weight=[10**30, 1]),
            ValueError,
            'class_weight: got .*expected one number',
        ),
        (LDAMLoss, dict(class_counts=None), ValueError, 'got class_counts=None'),
        (LogitAdjustedLoss, dict(class_counts=None), ValueError, 'class_counts: got None; expected one number'),
        (LogitAdjustedLoss, dict(class_counts=[5, 5], tau=1j), TypeError, 'tau=1j; expected a number'),
        (
            BalancedLogitVariationLoss,
            dict(class_counts=None),
            ValueError,
            'class_counts: got None; expected one number',
        ),
        (BalancedLogitVariationLoss, dict(class_counts=[5, 5], sigma='4'), TypeError, "sigma='4'; expected a num"),
        (
            BalancedLogitVariationLoss,
            dict(class_counts=[5, 5], sigma=-1),
            ValueError,
            'sigma=-1; expected a number of at lea',
        ),
        (BalancedLogitVariationLoss, dict(class_counts=[5, 5], sigma=INFINITY), ValueError, 'sigma=inf; expected a'),
        (
            BalancedSoftmaxLoss,
            dict(class_counts=[5, 5], tau=1.0),
            TypeError,
            r"got 'tau', which is no option of \w+; expected align_c",
        ),
        (SoftmaxFocalLoss, dict(gamma=2**70), ValueError, 'gamma=1180591620717411303424; expected a finite'),
        (SoftmaxFocalLoss, dict(gamma='2'), TypeError, "gamma='2'; expected a number"),
        (OHEMCrossEntropyLoss, dict(keep_ratio=[0.7]), TypeError, r'keep_ratio=\[0.7\]; expected a number'),
        (SoftTverskyLoss, dict(tversky_weights=('a', 1)), ValueError, r"tversky_weights=\('a', 1\)"),
        (SoftTverskyLoss, dict(tversky_weights=(INFINITY, 1)), ValueError, r'tversky_weights=\(inf, 1\)'),
        (
            SoftDiceLoss,
            dict(tversky_weights=(1, 1)),
            TypeError,
            r"got 'tversky_weights', which is no option of \w+; expected align_c",
        ),
        (
            SoftIoULoss,
            dict(tversky_weights=(1, 1)),
            TypeError,
            r"got 'tversky_weights', which is no option of \w+; expected align_c",
        ),
        (LovaszSoftmaxLoss, dict(per_image=np.array([1, 2])), TypeError, r'per_image=array\(\[1, 2\]\)'),
    ],
)
def test_an_option_of_another_type_is_named(cls, options, error, message):
    with pytest.raises(error, match=message):
        cls(**options)


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(avg_factor='2'), TypeError, "avg_factor='2'; expected a number"),
        (dict(avg_factor=INFINITY), ValueError, 'avg_factor=inf; expected a finite'),
        (dict(avg_factor=torch.ones(2)), ValueError, r'avg_factor of shape \(2,\)'),
        (dict(ignore_index=255.0), TypeError, r'ignore_index=255\.0; expected an integer'),
        (
            dict(weight=torch.ones(2, dtype=torch.complex64)),
            TypeError,
            'sample_weight of type .*; expected real numbers',
        ),
        (dict(weight=torch.ones(2, device='meta')), ValueError, 'sample_weight on meta and logits on cpu'),
        (dict(reduction_override=[]), ValueError, r'reduction=\[\]'),
    ],
)
def test_an_argument_of_another_type_is_named(name, options, error, message):
    loss = make(name)
    before = {key: buffer.clone() for key, buffer in loss.state_dict().items()}
    with pytest.raises(error, match=message):
        loss(torch.zeros(2, CLASSES, requires_grad=True), torch.tensor([0, 1]), **options)
    assert all(torch.equal(buffer, before[key]) for key, buffer in loss.state_dict().items())


@pytest.mark.skipif(not hasattr(torch, 'float8_e4m3fn'), reason='this PyTorch has no such type')
def test_floats_of_eight_bits_are_refused():
    scores, labels = torch.zeros(2, CLASSES), torch.tensor([0, 1])
    with pytest.raises(TypeError, match=r'got logits of .*expected floating point of 16, 32 or 64 bits'):
        RecallLoss()(scores.to(torch.float8_e4m3fn), labels)
    with pytest.raises(TypeError, match='soft labels'):
        RecallLoss()(scores, scores.to(torch.float8_e4m3fn))


@pytest.mark.parametrize('value', [NOT_A_NUMBER, INFINITY, -1.0])
def test_a_tensor_that_is_no_number_of_samples_gives_nan_because_reading_it_would_wait_for_the_device(value):
    loss, batch = RecallLoss(normalizer='all'), (torch.zeros(2, CLASSES), torch.tensor([0, 1]))
    assert loss(*batch, avg_factor=torch.tensor(value)).isnan()
    assert loss(*batch, avg_factor=torch.tensor([2])) == loss(*batch, avg_factor=2)
