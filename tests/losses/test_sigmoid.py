"""Losses with use_sigmoid=True: every channel is a problem of two classes, label 0 and label 1."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import binary_counts, binary_recall_loss
from torch import nn
from torch.autograd import forward_ad
from torch.nn.parallel import DistributedDataParallel
from torchvision.ops import sigmoid_focal_loss

from mmrecall.functional import recall_cross_entropy, softmax_focal_loss, weighted_cross_entropy
from mmrecall.losses import LovaszSoftmaxLoss, RecallLoss, SoftmaxFocalLoss, WeightedCrossEntropyLoss

CHANNELS = 3
FORMS = {
    'recall': (RecallLoss, {}),
    'smoothed recall': (RecallLoss, dict(label_smoothing=0.2, normalizer='weight')),
    'iou': (RecallLoss, dict(metric='iou', class_weight=[0.5, 2.0, 1.0])),
    'running recall': (RecallLoss, dict(alpha=0.5, num_classes=CHANNELS)),
    'weighted': (WeightedCrossEntropyLoss, dict(class_weight=[0.5, 2.0, 1.0])),
    'focal': (SoftmaxFocalLoss, dict(alpha=0.25)),
}
# options of one channel, which are those of a softmax over two
BINARY = {
    'recall': (RecallLoss, {}),
    'recall by weight': (RecallLoss, dict(normalizer='weight', class_weight=[0.5, 2.0])),
    'recall by name': (RecallLoss, dict(classes=('background', 'lesion'), class_weight=dict(lesion=3.0))),
    'f1': (RecallLoss, dict(metric='f1', normalizer='all')),
    'floor': (RecallLoss, dict(fn_floor=1, label_smoothing=0.1)),
    'weighted': (WeightedCrossEntropyLoss, dict(class_weight=[0.5, 2.0], normalizer='weight')),
    'scheme': (
        WeightedCrossEntropyLoss,
        dict(class_weight='inverse_frequency', class_counts=[90, 10], normalizer='valid', label_smoothing=0.3),
    ),
    'focal': (SoftmaxFocalLoss, dict(alpha=0.25, gamma=1.5)),
    'focal by class': (SoftmaxFocalLoss, dict(alpha=[0.5, 3.0])),
}


# The two ways of the sums: a small batch goes by plain steps, as all do on a GPU, in a compiled model and where every
# entry has a loss. What follows from the sums, and the focal loss, which does not take them, needs no second way.
WAYS = ['blocks', 'plain steps']
CASES = [
    *((name, 'blocks') for name in FORMS if name != 'focal'),
    ('smoothed recall', 'plain steps'),
    ('focal', 'plain steps'),
]
both_ways = pytest.mark.parametrize('_way', WAYS, indirect=True)
by_blocks = pytest.mark.usefixtures('fused_however_small')


@pytest.fixture(autouse=True)
def _way(request):
    if getattr(request, 'param', None) == 'blocks':
        request.getfixturevalue('fused_however_small')


def make(name, **options):
    cls, own = FORMS[name]
    return cls(use_sigmoid=True, **{**own, **options})


def batch(shape=(4, CHANNELS, 6, 5), ignored=0.2, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    target = torch.randint(0, 2, shape, generator=generator)
    target[torch.rand(shape, generator=generator) < ignored] = 255
    return logits, target


def value_and_gradient(loss, logits, target, **options):
    leaf = logits.detach().clone().requires_grad_()
    value = loss(leaf, target, **{'ignore_index': 255, **options})
    value.sum().backward()
    return value.detach(), leaf.grad


def two_channels(logits):
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize(
    ('reduction', '_way'), [('mean', 'blocks'), ('sum', 'plain steps'), ('none', 'plain steps')], indirect=['_way']
)
@pytest.mark.parametrize('name', BINARY)
def test_one_channel_is_a_softmax_over_zero_and_its_logit(name, reduction, soft):
    cls, options = BINARY[name]
    logits, target = batch((4, 1, 6, 5))
    weight = torch.rand(4, 6, 5, dtype=torch.float64)
    other = target.squeeze(1)
    if soft:
        share = torch.rand(target.shape, dtype=torch.float64)
        target = torch.where(target == 255, 255, share)
        other = torch.where(target == 255, 0, torch.cat([1 - share, share], dim=1))
    call = dict(reduction_override=reduction, weight=weight)
    found, gradient = value_and_gradient(cls(use_sigmoid=True, **options), logits, target, **call)
    expected, expected_gradient = value_and_gradient(
        lambda x, y, **call: cls(**options)(two_channels(x), y, **call), logits, other, **call
    )
    torch.testing.assert_close(found, expected.reshape(found.shape))
    torch.testing.assert_close(gradient, expected_gradient)


@by_blocks
@pytest.mark.parametrize('soft', [False, True])
def test_the_running_recall_of_one_channel_is_that_of_two_classes(soft):
    single, double = RecallLoss(alpha=0.3, num_classes=1, use_sigmoid=True), RecallLoss(alpha=0.3, num_classes=2)
    for seed in range(3):
        logits, target = batch((5, 1, 7), seed=seed)
        other = target.squeeze(1)
        if soft:
            share = torch.rand(target.shape, dtype=torch.float64)
            target, other = share, torch.cat([1 - share, share], dim=1)
        found, _ = value_and_gradient(single, logits, target)
        expected, _ = value_and_gradient(lambda x, y, **call: double(two_channels(x), y, **call), logits, other)
        torch.testing.assert_close(found, expected)
    assert single.recall.shape == (1, 2)
    torch.testing.assert_close(single.recall[0], double.recall)
    assert single.recall.min() > 0


@pytest.mark.parametrize(('name', '_way'), CASES, indirect=['_way'])
def test_several_channels_are_problems_of_their_own(name):
    logits, target = batch()
    whole = make(name)
    loss, gradient = value_and_gradient(whole, logits, target, reduction_override='sum')
    parts = []
    for channel in range(CHANNELS):
        cls, options = FORMS[name]
        given = dict(options)
        if 'class_weight' in given:
            given['class_weight'] = [1.0, given['class_weight'][channel]]
        if 'num_classes' in given:
            given['num_classes'] = 1
        one = cls(use_sigmoid=True, **given)
        at = slice(channel, channel + 1)
        parts.append(value_and_gradient(one, logits[:, at], target[:, at], reduction_override='sum'))
        if one.running_statistics():
            torch.testing.assert_close(whole.recall[at], one.recall)
    torch.testing.assert_close(loss, sum(part for part, _ in parts))
    torch.testing.assert_close(gradient, torch.cat([part for _, part in parts], dim=1))


@both_ways
@settings(max_examples=25)
@given(
    shape=st.sampled_from([(1, 1), (7, 1), (6, 4), (2, 3, 5), (2, 1, 3, 4)]),
    seed=st.integers(0, 10**6),
    ignored=st.sampled_from([0, 0.3, 1]),
)
def test_the_recall_loss_is_a_loop_over_equation_5(shape, seed, ignored):
    logits, target = batch(shape, ignored, seed=seed)
    expected = binary_recall_loss(logits, target, 255)
    for labels in (target, target.int(), target.double()):
        found = recall_cross_entropy(logits, labels, ignore_index=255, reduction='sum', use_sigmoid=True)
        assert found.item() == pytest.approx(expected)


@by_blocks
@pytest.mark.parametrize('normalizer', ['valid', 'all', 'weight'])
def test_the_recall_loss_is_binary_cross_entropy_with_the_false_negative_rates_as_weights(normalizer):
    logits, target = batch()
    weight = torch.zeros_like(logits)
    for channel in range(CHANNELS):
        labels = target[:, channel]
        pairs = zip(logits[:, channel][labels != 255].tolist(), labels[labels != 255].tolist(), strict=True)
        support, hits = binary_counts(pairs)
        for label in (0, 1):
            weight[:, channel][labels == label] = 1 - hits[label] / support[label]
    divisor = {'valid': (target != 255).sum(), 'all': target.numel(), 'weight': weight.sum()}[normalizer]
    expected, expected_gradient = value_and_gradient(
        lambda x, y, **_: F.binary_cross_entropy_with_logits(x, y, weight, reduction='sum') / divisor,
        logits,
        (target == 1).double(),
    )
    loss = RecallLoss(normalizer=normalizer, use_sigmoid=True)
    found, gradient = value_and_gradient(loss, logits, target)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@by_blocks
@pytest.mark.parametrize('shape', [(6, 3), (2, 3, 4, 5)])
def test_class_weights_are_the_pos_weight_of_pytorch(shape):
    logits, target = batch(shape, 0)
    pos_weight = torch.tensor([0.5, 3.0, 0.0], dtype=torch.float64)
    by_channel = pos_weight.reshape(3, *[1] * (len(shape) - 2))
    expected = F.binary_cross_entropy_with_logits(logits, target.double(), pos_weight=by_channel)
    torch.testing.assert_close(weighted_cross_entropy(logits, target, pos_weight, use_sigmoid=True), expected)
    loss = WeightedCrossEntropyLoss(pos_weight.tolist(), use_sigmoid=True)
    torch.testing.assert_close(loss(logits, target.double()), expected)
    plain = WeightedCrossEntropyLoss(use_sigmoid=True)(logits, target)
    torch.testing.assert_close(plain, F.binary_cross_entropy_with_logits(logits, target.double()))


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, None), (2.0, 0.25), (1.5, 0.9), (0.0, 0.25)])
def test_focal_loss_is_that_of_torchvision(gamma, alpha):
    logits, target = batch(ignored=0)
    loss = SoftmaxFocalLoss(gamma, alpha=alpha, use_sigmoid=True)
    expected, expected_gradient = value_and_gradient(
        lambda x, y, **_: sigmoid_focal_loss(x, y, -1 if alpha is None else alpha, gamma, reduction='mean'),
        logits,
        target.double(),
    )
    for labels in (target, target.double()):
        found, gradient = value_and_gradient(loss, logits, labels)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradient, expected_gradient)


def test_focal_factors_of_several_channels_are_those_of_their_label_1():
    logits, target = batch((20, 2), 0)
    expected = [
        sigmoid_focal_loss(logits[:, channel], target[:, channel].double(), alpha, reduction='sum')
        for channel, alpha in enumerate((0.2, 0.9))
    ]
    found = SoftmaxFocalLoss(alpha=[0.2, 0.9], use_sigmoid=True, reduction='sum')(logits, target)
    torch.testing.assert_close(found, sum(expected))
    alpha = torch.tensor([[0.8, 0.2], [0.1, 0.9]])
    torch.testing.assert_close(
        softmax_focal_loss(logits, target, alpha=alpha, use_sigmoid=True, reduction='sum'), sum(expected)
    )


def test_smoothed_labels_are_soft_labels_with_the_recall_of_the_hard_ones():
    logits, target = batch((40, 2), 0)
    smoothing = 0.2
    soft = (1 - smoothing) * target.double() + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(logits, soft)
    loss = WeightedCrossEntropyLoss(label_smoothing=smoothing, use_sigmoid=True)
    torch.testing.assert_close(loss(logits, target), expected)
    hard, smoothed = (RecallLoss(alpha=0.5, num_classes=2, label_smoothing=s, use_sigmoid=True) for s in (0.0, 0.2))
    for one in (hard, smoothed):
        one(logits.requires_grad_(), target)
    torch.testing.assert_close(hard.recall, smoothed.recall)


@pytest.mark.parametrize(('name', '_way'), CASES, indirect=['_way'])
class TestEveryForm:
    def test_an_ignored_entry_is_as_if_it_were_not_there(self, name):
        logits, target = batch((40, CHANNELS), 0)
        mask = torch.rand(40) < 0.3
        target[mask] = 255
        spoilt = logits.masked_fill(mask.unsqueeze(1), float('nan'))
        weight = torch.rand(40, dtype=torch.float64)
        expected, expected_gradient = value_and_gradient(make(name), logits[~mask], target[~mask], weight=weight[~mask])
        weight = weight.masked_fill(mask, float('nan'))
        for labels in (target, target.double(), target.to(torch.uint8)):
            found, gradient = value_and_gradient(make(name), spoilt, labels, weight=weight)
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(gradient[~mask], expected_gradient)
            assert gradient[mask].abs().sum() == 0

    def test_an_ignored_or_empty_batch_gives_a_zero_loss_and_zero_gradients(self, name):
        for shape in ((3, CHANNELS), (2, CHANNELS, 4, 3), (0, CHANNELS), (2, CHANNELS, 0, 3)):
            for dtype in (torch.long, torch.float32):
                target = torch.full(shape, 255, dtype=dtype)
                value, gradient = value_and_gradient(make(name), torch.randn(shape), target)
                assert value == 0
                assert gradient.abs().sum() == 0

    def test_segmentation_is_classification_of_every_pixel(self, name):
        logits, target = batch()
        dense, gradient = value_and_gradient(make(name), logits, target)
        flat = [one.movedim(1, -1).reshape(-1, CHANNELS) for one in (logits, target)]
        found, flat_gradient = value_and_gradient(make(name), *flat)
        torch.testing.assert_close(dense, found)
        torch.testing.assert_close(gradient.movedim(1, -1).reshape(-1, CHANNELS), flat_gradient)

    def test_a_sample_weight_scales_all_labels_of_its_sample(self, name):
        logits, target = batch()
        weight = torch.rand(4, 6, 5, dtype=torch.float64)
        each = make(name, reduction='none')(logits, target, ignore_index=255)
        for reduction in ('none', 'sum'):
            found = make(name, reduction=reduction)(logits, target, weight=weight, ignore_index=255)
            expected = each * weight.unsqueeze(1)
            torch.testing.assert_close(found, expected if reduction == 'none' else expected.sum())

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_types_are_computed_in_float32(self, name, dtype):
        logits, target = batch(dtype=dtype)
        loss = make(name).to(dtype)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            value, gradient = value_and_gradient(loss, logits, target)
        other = make(name)
        expected, expected_gradient = value_and_gradient(other, logits.float(), target)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected)
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.float(), expected_gradient, rtol=torch.finfo(dtype).eps, atol=1e-7)
        for key, tensor in other.state_dict().items():
            torch.testing.assert_close(loss.state_dict()[key], tensor)

    def test_a_sum_beyond_float16_is_that_of_float32(self, name):
        target = torch.randint(0, 2, (2**13, CHANNELS))
        logits = 20 - 40 * target.half()
        value, _ = value_and_gradient(make(name, reduction='sum'), logits[:300], target[:300])
        assert value == value_and_gradient(make(name, reduction='sum'), logits[:300].float(), target[:300])[0]

    def test_logits_of_ten_thousand_stay_finite(self, name):
        logits, target = batch(dtype=torch.float32)
        value, gradient = value_and_gradient(make(name), 1e4 * logits.sign(), target)
        assert value.isfinite()
        assert gradient.isfinite().all()

    def test_transforms_of_torch_func_are_loops(self, name):
        logits, target = batch((24, CHANNELS), 0)
        logits, target = logits.reshape(3, 8, CHANNELS), target.reshape(3, 8, CHANNELS)
        loss = make(name).eval()
        found = torch.func.vmap(loss)(logits, target)
        torch.testing.assert_close(found, torch.stack([loss(*one) for one in zip(logits, target, strict=True)]))
        gradient = torch.func.grad(lambda x: loss(x, target[0]))(logits[0])
        torch.testing.assert_close(gradient, value_and_gradient(loss, logits[0], target[0])[1])


@both_ways
@pytest.mark.parametrize('name', ['recall', 'focal'])
@pytest.mark.parametrize('ignore_index', [-1, 0, 1])
def test_any_label_may_be_the_ignored_one(name, ignore_index):
    logits, target = batch()
    moved = torch.where(target == 255, ignore_index, target)
    alone = torch.where(moved == ignore_index, 255, moved)
    expected, _ = value_and_gradient(make(name), logits, alone)
    for labels in (moved, moved.double()):
        found, _ = value_and_gradient(make(name), logits, labels, ignore_index=ignore_index)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('name', FORMS)
def test_the_reduction_none_has_a_value_for_every_label_and_the_sum_is_theirs(name):
    logits, target = batch()
    each = make(name, reduction='none')(logits, target, ignore_index=255)
    assert each.shape == target.shape
    assert each[target == 255].abs().sum() == 0
    torch.testing.assert_close(each.sum(), make(name, reduction='sum')(logits, target, ignore_index=255))


@pytest.mark.parametrize(
    ('name', '_way'), [*(('smoothed recall', way) for way in WAYS), ('focal', 'plain steps')], indirect=['_way']
)
def test_gradcheck_in_float64(name):
    logits, target = batch((3, CHANNELS, 5))
    loss = make(name).eval()
    weight = torch.rand(3, 5, dtype=torch.float64)
    function = lambda x: loss(x, target, weight=weight, ignore_index=255)  # noqa: E731
    assert torch.autograd.gradcheck(function, logits.requires_grad_())
    assert torch.autograd.gradgradcheck(function, logits)


# the compiler takes the plain steps alone
@pytest.mark.parametrize('name', ['smoothed recall', 'running recall', 'focal'])
def test_compiled_equals_eager(name):
    logits, target = batch(dtype=torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(make(name), backend='aot_eager')
    value, gradient = value_and_gradient(compiled, logits, target)
    expected, expected_gradient = value_and_gradient(make(name), logits, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize('name', FORMS)
@pytest.mark.parametrize('clone', [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_copies_and_checkpoints_give_the_same_loss(name, clone):
    loss = make(name)
    logits, target = batch()
    loss(logits.requires_grad_(), target, ignore_index=255)
    other, file = make(name), io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    expected = copy.deepcopy(loss).eval()(logits, target, ignore_index=255)
    for one in (clone(loss), other):
        torch.testing.assert_close(one.eval()(logits, target, ignore_index=255), expected)


@pytest.mark.parametrize('name', ['recall', 'running recall', 'focal'])
def test_logits_of_a_lower_resolution_are_interpolated(name):
    _, target = batch((2, CHANNELS, 6, 8))
    low = torch.randn(2, CHANNELS, 3, 4, dtype=torch.float64)
    found, gradient = value_and_gradient(make(name), low, target, upsample='bilinear')
    expected, expected_gradient = value_and_gradient(
        lambda x, y, **call: make(name)(F.interpolate(x, (6, 8), mode='bilinear'), y, **call), low, target
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize('name', ['recall', 'focal'])
@pytest.mark.parametrize(
    ('logits', 'target', 'error', 'message'),
    [
        (torch.zeros(2, 3), torch.tensor([0, 1]), ValueError, r'\(2, 3\); for class indices leave use_sigmoid out'),
        (torch.zeros(2, 3, 4), torch.zeros(2, 3).long(), ValueError, r'label 0 or 1 for every entry, \(2, 3, 4\)'),
        (torch.zeros(2, 3), torch.tensor([[0, 1, 2], [0, 0, 1]]), ValueError, r'1 label.*outside \[0, 1\].*is 2,'),
        (torch.zeros(2, 3), torch.tensor([[0, 1, -0.5], [0, 0, 1]]), ValueError, r'the first is -0\.5'),
        (torch.zeros(2, 3), torch.full((2, 3), float('nan')), ValueError, 'got 6 label.*the first is nan'),
        (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.complex64), TypeError, 'labels 0 and 1'),
        (torch.zeros(2, 3).long(), torch.zeros(2, 3), TypeError, 'before the sigmoid'),
        (torch.zeros(2, 0), torch.zeros(2, 0), ValueError, r'logits of shape .*expected at least one channel'),
    ],
)
def test_wrong_inputs_are_named(name, logits, target, error, message):
    with pytest.raises(error, match=message):
        make(name)(logits, target)


@pytest.mark.parametrize(
    'labels',
    [
        lambda mask: mask.long(),
        lambda mask: mask,
        lambda mask: mask.float(),
        lambda mask: mask.unsqueeze(1).to(torch.uint8),
        lambda mask: mask.unsqueeze(1),
        lambda mask: mask.unsqueeze(1).half(),
    ],
)
def test_masks_of_any_type_and_with_or_without_their_channel_are_labels_of_one_channel(labels):
    logits, mask = torch.randn(3, 1, 4, 5), torch.rand(3, 4, 5) > 0.7
    expected = RecallLoss(use_sigmoid=True)(logits, mask.long())
    given = labels(mask)
    torch.testing.assert_close(RecallLoss(use_sigmoid=True)(logits, given), expected)
    assert RecallLoss(use_sigmoid=True)(logits, given, reduction_override='none').shape == given.shape


def test_forward_mode_gives_the_directional_derivative():
    torch.manual_seed(0)
    logits, direction = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(2, 5, 3, dtype=torch.float64)
    target = torch.randint(0, 2, (2, 5, 3))
    with forward_ad.dual_level():
        loss = recall_cross_entropy(forward_ad.make_dual(logits, direction), target, use_sigmoid=True)
        tangent = forward_ad.unpack_dual(loss).tangent
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(recall_cross_entropy(logits, target, use_sigmoid=True), logits)
    torch.testing.assert_close(tangent, (gradient * direction).sum())


def test_a_logit_of_zero_is_predicted_as_label_0_and_trains():
    loss = RecallLoss(use_sigmoid=True, alpha=0.5, num_classes=1)
    _, gradient = value_and_gradient(loss, torch.zeros(4, 1), torch.tensor([0, 0, 1, 1]))
    assert loss.recall.tolist() == [[0.5, 0.0]]
    assert gradient.flatten().tolist() == pytest.approx([0.0625, 0.0625, -0.125, -0.125])


def test_infinite_logits_of_the_right_sign_cost_nothing():
    logits = torch.tensor([[float('inf')], [-float('inf')], [1.0]])
    loss = WeightedCrossEntropyLoss(use_sigmoid=True)
    value, gradient = value_and_gradient(loss, logits, torch.tensor([1, 0, 0]))
    torch.testing.assert_close(value, F.softplus(torch.tensor(1.0)) / 3)
    assert gradient.isfinite().all()


def test_the_recall_of_a_running_mean_may_be_given():
    logits, target = batch()
    loss = make('running recall')
    loss(logits.requires_grad_(), target, ignore_index=255)
    expected = loss.eval()(logits, target, ignore_index=255)
    found = recall_cross_entropy(logits, target, ignore_index=255, recall=loss.recall, use_sigmoid=True)
    torch.testing.assert_close(found, expected, check_dtype=False, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r'recall of shape \(2, 3\).*expected \(3, 2\)'):
        recall_cross_entropy(logits, target, ignore_index=255, recall=loss.recall.T, use_sigmoid=True)


def test_the_classes_whose_loss_is_not_finite_are_the_channels_or_the_labels_of_a_single_one():
    logits, target = batch((6, CHANNELS), 0)
    logits[2, 1] = float('nan')
    assert RecallLoss(use_sigmoid=True).nonfinite_classes(logits, target).tolist() == [False, True, False]
    label = target[2, 1].item()
    found = RecallLoss(use_sigmoid=True).nonfinite_classes(logits[:, 1:2], target[:, 1])
    assert found.tolist() == [label == 0, label == 1]


@pytest.mark.parametrize(
    ('make_loss', 'error', 'message'),
    [
        (lambda: LovaszSoftmaxLoss(use_sigmoid=True), ValueError, 'LovaszSoftmaxLoss, a loss over a softmax'),
        (lambda: RecallLoss(use_sigmoid=1), TypeError, 'use_sigmoid=1; expected True or False'),
        (lambda: RecallLoss(use_sigmoid=True, alpha=0.5), ValueError, 'set num_classes'),
        (lambda: RecallLoss(use_sigmoid=True, num_classes=0), ValueError, 'at least 1, the channel of a sigmoid'),
        (lambda: RecallLoss(label_smoothing=1.5), ValueError, 'label_smoothing=1.5; expected a number between 0 and 1'),
        (
            lambda: WeightedCrossEntropyLoss([1.0, 2.0, 3.0], use_sigmoid=True, num_classes=2),
            ValueError,
            'class_weight with 3 entries, .*; expected 2',
        ),
        (
            lambda: WeightedCrossEntropyLoss('inverse_frequency', class_counts='auto', use_sigmoid=True, num_classes=3),
            ValueError,
            r"class_counts='auto' and num_classes=3 .*expected two counts, .*For C channels set class_weight to C",
        ),
        (
            lambda: WeightedCrossEntropyLoss('inverse_frequency', class_counts=[1, 2, 3], use_sigmoid=True),
            ValueError,
            r'class_counts=\[1, 2, 3\] .*expected two counts, \[samples of label 0, samples of label 1\]',
        ),
        (
            lambda: WeightedCrossEntropyLoss(use_sigmoid=True, no_object_weight=0.1),
            ValueError,
            'no_object_weight=0.1 together with use_sigmoid=True',
        ),
        (lambda: SoftmaxFocalLoss(alpha=1.5), ValueError, 'alpha=1.5'),
        (
            lambda: SoftmaxFocalLoss(alpha=[1.0, -1.0]),
            ValueError,
            'alpha=.*expected factors that are finite and at least 0',
        ),
        (lambda: SoftmaxFocalLoss(alpha=0.25, num_classes=3), ValueError, 'expected a list of 3'),
        (lambda: SoftmaxFocalLoss(alpha=[1.0, 2.0], num_classes=3), ValueError, 'alpha with 2 entries, .*; expected 3'),
        (
            lambda: SoftmaxFocalLoss(alpha=[0.5, 0.5, 2.0], use_sigmoid=True, num_classes=3),
            ValueError,
            'label 0 has 1 - alpha',
        ),
    ],
)
def test_options_that_do_not_belong_together_are_named(make_loss, error, message):
    with pytest.raises(error, match=message):
        make_loss()


def test_the_number_of_classes_of_a_binary_task_is_the_number_of_channels():
    loss = RecallLoss(alpha=0.5, num_classes=2, use_sigmoid=True)
    with pytest.raises(ValueError, match='num_classes is the number of channels'):
        loss(torch.zeros(2, 1), torch.tensor([0, 1]))


def test_one_channel_without_a_sigmoid_is_refused_and_the_remedy_named():
    with pytest.raises(ValueError, match=r'RecallLoss is a softmax over classes; .*set use_sigmoid=True'):
        RecallLoss()(torch.zeros(2, 1, 4), torch.zeros(2, 4).long())


def model():
    torch.manual_seed(1)
    return nn.Conv1d(3, CHANNELS, 1).double()


def whole_batch(world_size):
    """Images and labels for all ranks together, different numbers of valid labels on each; the last has none."""
    images, _ = batch((2 * world_size, 3, 25), seed=5)
    _, target = batch((2 * world_size, CHANNELS, 25), seed=6)
    target[0, :, 5:] = 255
    target[-2:] = 255
    return images, target


def train(network, loss, images, target):
    values = []
    for _ in range(3):
        network.zero_grad()
        value = loss(network(images), target, ignore_index=255, avg_factor=len(images))
        value.backward()
        values.append(value.item())
    gradients = torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).tolist()
    return values, gradients, [one.tolist() for one in loss.running_statistics().values()]


def ranks_train(rank, world_size, name, options):
    images, target = whole_batch(world_size)
    part = slice(2 * rank, 2 * rank + 2)
    return train(DistributedDataParallel(model()), make(name, **options), images[part], target[part])


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('recall', {}),
        ('running recall', dict(normalizer='all')),
        ('smoothed recall', {}),
        ('weighted', dict(normalizer='weight')),
        ('focal', {}),
    ],
)
def test_ranks_equal_one_process_with_the_whole_batch(four_ranks, name, options):
    answers = four_ranks.run(ranks_train, name, options)
    values, gradients, running = train(model(), make(name, **options), *whole_batch(four_ranks.world_size))
    assert torch.tensor([answer[0] for answer in answers]).mean(0).tolist() == pytest.approx(values)
    for _, rank_gradients, rank_running in answers:
        assert rank_gradients == pytest.approx(gradients)
        torch.testing.assert_close(torch.tensor(rank_running), torch.tensor(running))


def rank_with_bad_input(rank, world_size, case):
    loss = RecallLoss(alpha=0.5, num_classes=2, use_sigmoid=True)
    logits, target = torch.zeros(3, 2, requires_grad=True), torch.tensor([[0, 1], [1, 0], [1, 1]])
    bad = dict(label=target + 1, shape=target[:2], channels=torch.zeros(3, 4).long())[case]
    scores = torch.zeros(3, 4, requires_grad=True) if case == 'channels' and rank else logits
    try:
        loss(scores, bad if rank else target)
        message = ''
    except ValueError as error:
        message = str(error)
    before = loss.recall.tolist()
    # and the ranks are still in step
    loss(logits, target)
    return message, before


@pytest.mark.parametrize(
    ('case', 'message'), [('label', 'outside [0, 1]'), ('shape', '(2, 2)'), ('channels', '4 channels')]
)
def test_bad_input_on_one_rank_raises_on_all_and_moves_nothing(two_ranks, case, message):
    (first, state), (second, other_state) = two_ranks.run(rank_with_bad_input, case)
    assert message in second
    assert ('another rank' if case == 'label' else 'other rank') in first
    assert state == other_state == [[0, 0], [0, 0]]


def test_a_running_recall_takes_float_labels_of_another_resolution_than_the_logits():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4)
    labels = torch.randint(0, 2, (2, 3, 8, 8))
    options = dict(alpha=0.5, num_classes=3, use_sigmoid=True, upsample='bilinear')
    found, expected = (RecallLoss(**options)(logits, target) for target in (labels.float(), labels))
    torch.testing.assert_close(found, expected)


def test_focal_loss_of_float_labels_is_finite_where_the_logit_is_infinite_and_right():
    logits = torch.tensor([[torch.inf], [1.0]])
    labels = torch.tensor([[1], [0]])
    loss = SoftmaxFocalLoss(use_sigmoid=True)
    torch.testing.assert_close(loss(logits, labels.float()), loss(logits, labels))
