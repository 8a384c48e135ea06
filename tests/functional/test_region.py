import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import random_batch

from mmrecall.functional import lovasz_softmax_loss, soft_dice_loss, soft_iou_loss, tversky_loss

WEIGHTS = [0.5, 2.0, 0.0, 3.0]


def mean_of_present(losses, weights=None):
    """Sum of w_c l_c over sum of w_c, of the classes that have a loss."""
    pairs = zip(weights or [1.0] * len(losses), losses, strict=True)
    present = [(weight, loss) for weight, loss in pairs if loss is not None]
    return sum(weight * loss for weight, loss in present) / sum(weight for weight, _ in present)


@pytest.mark.parametrize(('a', 'b'), [(0.3, 0.7), (0.5, 0.5), (1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize('smooth', [0.0, 1.0])
@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_tversky_equals_table_1_by_a_loop(a, b, smooth, ignored):
    logits, target = random_batch((3, 4, 5, 2), ignored)
    expected = oracle.tversky_losses(logits, target, a, b, 255, smooth)
    loss = tversky_loss(logits, target, (a, b), ignore_index=255, smooth=smooth)
    assert loss.item() == pytest.approx(mean_of_present(expected), rel=1e-12)


def test_dice_and_iou_are_tversky_with_halves_and_ones():
    logits, target = random_batch()
    for function, a in ((soft_dice_loss, 0.5), (soft_iou_loss, 1.0)):
        expected = mean_of_present(oracle.tversky_losses(logits, target, a, a, 255))
        assert function(logits, target, ignore_index=255).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
@pytest.mark.parametrize('name', ['DiceLoss', 'JaccardLoss', 'TverskyLoss'])
def test_equals_segmentation_models_pytorch(name, ignored):
    losses = pytest.importorskip('segmentation_models_pytorch.losses')
    logits, target = random_batch((2, 4, 6, 5), ignored)
    theirs, ours = {
        'DiceLoss': (losses.DiceLoss('multiclass', eps=1e-15, ignore_index=255), soft_dice_loss),
        # its Jaccard loss knows no ignored pixels: it gets the valid ones alone, as one row
        'JaccardLoss': (losses.JaccardLoss('multiclass', eps=1e-15), soft_iou_loss),
        'TverskyLoss': (
            losses.TverskyLoss('multiclass', alpha=0.3, beta=0.7, eps=1e-15, ignore_index=255),
            tversky_loss,
        ),
    }[name]
    their_logits, their_target = logits, target
    if name == 'JaccardLoss':
        valid = target != 255
        their_logits = logits.movedim(1, -1)[valid].T[None, :, None]
        their_target = target[valid][None, None]
    expected = theirs(their_logits, their_target)
    torch.testing.assert_close(ours(logits, target, ignore_index=255), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('jaccard', [False, True])
def test_equals_monai_on_labelled_pixels(jaccard):
    losses = pytest.importorskip('monai.losses')
    logits, target = random_batch((2, 4, 6, 5), 0)
    theirs = losses.DiceLoss(
        softmax=True, to_onehot_y=True, jaccard=jaccard, smooth_nr=0, smooth_dr=0, batch=True, reduction='mean'
    )
    ours = soft_iou_loss if jaccard else soft_dice_loss
    torch.testing.assert_close(ours(logits, target), theirs(logits, target[:, None]), rtol=1e-9, atol=1e-12)


def weighted_tversky(logits, target, **options):
    return tversky_loss(logits, target, ignore_index=255, **options)


def weighted_lovasz(logits, target, **options):
    return lovasz_softmax_loss(logits, target, ignore_index=255, **options)


WEIGHTED = {
    weighted_tversky: lambda *batch: oracle.tversky_losses(*batch, 0.3, 0.7, 255),
    weighted_lovasz: lambda *batch: oracle.lovasz_losses(*batch, 255),
}


@pytest.mark.parametrize('absent', [None, 0, 2])
@pytest.mark.parametrize('function', WEIGHTED)
def test_class_weights_are_those_of_the_mean_over_the_classes_present(function, absent):
    logits, target = random_batch((2, 4, 7), 0.2)
    target[target == absent] = 255
    losses, weights = WEIGHTED[function](logits, target), torch.tensor(WEIGHTS)
    loss = function(logits, target, class_weight=weights)
    assert loss.item() == pytest.approx(mean_of_present(losses, WEIGHTS), rel=1e-12)
    weighted = [0.0 if loss is None else weight * loss for weight, loss in zip(WEIGHTS, losses, strict=True)]
    assert function(logits, target, class_weight=weights, reduction='none').tolist() == pytest.approx(weighted)
    assert function(logits, target, class_weight=weights, reduction='sum').item() == pytest.approx(sum(weighted))


@pytest.mark.parametrize('function', WEIGHTED)
def test_equal_class_weights_are_none(function):
    logits, target = random_batch((2, 4, 7), 0.2)
    equal = function(logits, target, class_weight=torch.full((4,), 2.5))
    torch.testing.assert_close(equal, function(logits, target))


@pytest.mark.parametrize('scale', [1e-310, 6e-167, 1e-40, 1e39, 5e307])
@pytest.mark.parametrize('function', WEIGHTED)
def test_class_weights_of_any_size_are_their_shares_in_value_and_gradient(function, scale):
    logits, target = random_batch((2, 4, 7), 0.2)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    found = []
    for factor in (scale, 1.0):
        leaf = logits.float().requires_grad_()
        loss = function(leaf, target, class_weight=factor * weights)
        loss.backward()
        found.append((loss, leaf.grad))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize('function', WEIGHTED)
def test_without_a_weight_above_zero_the_loss_is_zero_with_a_graph(function):
    logits, _ = random_batch((2, 4, 7), 0)
    leaf = logits.requires_grad_()
    loss = function(leaf, torch.full((2, 7), 2), class_weight=torch.tensor(WEIGHTS))
    loss.backward()
    assert loss == 0
    assert leaf.grad.abs().sum() == 0


def test_class_weights_of_all_classes_include_those_of_absent_ones():
    logits, target = random_batch((2, 4, 30), 0)
    target[target == 1] = 255
    losses = [1.0 if loss is None else loss for loss in oracle.tversky_losses(logits, target, 0.3, 0.7, 255)]
    loss = weighted_tversky(logits, target, classes='all', class_weight=torch.tensor(WEIGHTS))
    assert loss.item() == pytest.approx(mean_of_present(losses, WEIGHTS), rel=1e-12)


def test_lovasz_per_image_weighs_the_classes_of_every_image():
    logits, target = random_batch((3, 4, 5, 2), 0.3)
    target[1] = 2
    images = [(logits[n : n + 1], target[n : n + 1]) for n in (0, 2)]
    expected = [mean_of_present(oracle.lovasz_losses(*image, 255), WEIGHTS) for image in images]
    loss = weighted_lovasz(logits, target, per_image=True, class_weight=torch.tensor(WEIGHTS))
    # the class of the image between them weighs 0, and so does its loss
    assert loss.item() == pytest.approx(sum(expected) / 3, rel=1e-12)


def test_weighted_dice_equals_segmentation_models_pytorch():
    losses = pytest.importorskip('segmentation_models_pytorch.losses')
    logits, target = random_batch((2, 4, 6, 5), 0.3)
    theirs = losses.DiceLoss('multiclass', eps=1e-15, ignore_index=255, class_weights=WEIGHTS)
    ours = soft_dice_loss(logits, target, ignore_index=255, class_weight=torch.tensor(WEIGHTS))
    torch.testing.assert_close(ours, theirs(logits, target), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('jaccard', [False, True])
def test_the_weighted_sum_and_gradient_equal_those_of_monai(jaccard):
    losses = pytest.importorskip('monai.losses')
    logits, target = random_batch((2, 4, 6, 5), 0)
    theirs = losses.DiceLoss(
        softmax=True, to_onehot_y=True, jaccard=jaccard, smooth_nr=0, smooth_dr=0, batch=True, reduction='sum',
        weight=WEIGHTS,
    )  # fmt: skip
    ours = soft_iou_loss if jaccard else soft_dice_loss
    found, expected = [], []
    for values, function in (
        (found, lambda x: ours(x, target, class_weight=torch.tensor(WEIGHTS), reduction='sum')),
        (expected, lambda x: theirs(x, target[:, None])),
    ):
        leaf = logits.clone().requires_grad_()
        value = function(leaf)
        value.backward()
        values += [value.detach(), leaf.grad]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_absent_classes_are_left_out_unless_all_are_asked_for(ignored):
    logits, target = random_batch((2, 4, 30), ignored)
    target[target == 2] = 255
    expected = oracle.tversky_losses(logits, target, 0.3, 0.7, 255)
    assert expected[2] is None
    present = [loss for loss in expected if loss is not None]
    per_class = tversky_loss(logits, target, ignore_index=255, reduction='none')
    assert per_class[2] == 0
    assert tversky_loss(logits, target, ignore_index=255).item() == pytest.approx(sum(present) / 3)
    assert tversky_loss(logits, target, ignore_index=255, reduction='sum').item() == pytest.approx(sum(present))
    every = tversky_loss(logits, target, ignore_index=255, classes='all')
    assert every.item() == pytest.approx((sum(present) + 1) / 4)


def test_with_smooth_an_absent_class_is_pushed_down():
    logits = torch.zeros(2, 3, requires_grad=True)
    tversky_loss(logits, torch.tensor([0, 1]), classes='all', smooth=1.0).backward()
    assert (logits.grad[:, 2] > 0).all()


def test_sample_weights_are_shares_in_the_sums():
    logits, target = random_batch((2, 4, 6), 0)
    mask = torch.rand(target.shape) < 0.5
    for function in (soft_dice_loss, soft_iou_loss, tversky_loss):
        torch.testing.assert_close(
            function(logits, target, sample_weight=mask.double()),
            function(logits, target.masked_fill(~mask, 255), ignore_index=255),
        )


def test_one_hot_soft_labels_equal_integer_ones():
    logits, target = random_batch((4, 3, 5), 0.3)
    soft = torch.nn.functional.one_hot(target.where(target != 255, 3), 4)[..., :3].movedim(-1, 1).double()
    torch.testing.assert_close(tversky_loss(logits, soft), tversky_loss(logits, target, ignore_index=255))


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_lovasz_equals_the_definition_by_sets(per_image, ignored):
    logits, target = random_batch((3, 4, 5, 2), ignored)
    groups = [(logits, target)]
    if per_image:
        groups = [(logits[n : n + 1], target[n : n + 1]) for n in range(3)]
    expected = [mean_of_present(oracle.lovasz_losses(*group, 255)) for group in groups]
    loss = lovasz_softmax_loss(logits, target, ignore_index=255, per_image=per_image)
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-12)


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_lovasz_equals_segmentation_models_pytorch(per_image, ignored):
    losses = pytest.importorskip('segmentation_models_pytorch.losses')
    # theirs takes float32 only
    logits, target = random_batch((3, 4, 6, 5), ignored, dtype=torch.float32)
    theirs = losses.LovaszLoss('multiclass', per_image=per_image, ignore_index=255)
    ours = lovasz_softmax_loss(logits, target, ignore_index=255, per_image=per_image)
    torch.testing.assert_close(ours, theirs(logits, target), rtol=1e-5, atol=1e-6)


def test_lovasz_gradient_equals_that_of_the_sorted_form():
    losses = pytest.importorskip('segmentation_models_pytorch.losses')
    logits, target = random_batch((2, 3, 6, 5), 0.2, dtype=torch.float32)
    gradients = []
    for function in (
        lambda x: lovasz_softmax_loss(x, target, ignore_index=255),
        lambda x: losses.LovaszLoss('multiclass', ignore_index=255)(x, target),
    ):
        leaf = logits.clone().requires_grad_()
        function(leaf).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_lovasz_leaves_an_image_without_labels_out_of_the_mean():
    logits, target = random_batch((3, 4, 5), 0)
    target[1] = 255
    others = lovasz_softmax_loss(logits[[0, 2]], target[[0, 2]], ignore_index=255, per_image=True)
    torch.testing.assert_close(lovasz_softmax_loss(logits, target, ignore_index=255, per_image=True), others)


def test_lovasz_over_all_classes_adds_the_highest_probability_of_an_absent_one():
    logits, _ = random_batch((1, 3, 6), 0)
    target = torch.tensor([[0, 1, 0, 1, 1, 0]])
    per_class = lovasz_softmax_loss(logits, target, classes='all', reduction='none')
    torch.testing.assert_close(per_class[:2], lovasz_softmax_loss(logits, target, reduction='none')[:2])
    torch.testing.assert_close(per_class[2], logits.softmax(1)[0, 2].max())
    torch.testing.assert_close(lovasz_softmax_loss(logits, target, classes='all'), per_class.mean())


def test_lovasz_in_float32_is_exact_where_a_sample_moves_the_iou_by_less_than_its_resolution():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 400_000, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 2, (1, 400_000), generator=generator)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = logits.to(dtype).requires_grad_()
        lovasz_softmax_loss(leaf, target).backward()
        gradients.append(leaf.grad.double())
    difference = (gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max()
    assert difference < 1e-3


@pytest.mark.parametrize('nonfinite', [float('nan'), float('inf'), float('-inf')])
@pytest.mark.parametrize('function', [tversky_loss, lovasz_softmax_loss])
def test_what_is_scored_at_an_ignored_pixel_does_not_matter_even_if_it_is_no_number(function, nonfinite):
    logits, target = random_batch((2, 4, 30), 0.3)
    spoiled = logits.clone()
    spoiled[:, 1][target == 255] = nonfinite
    torch.testing.assert_close(function(spoiled, target, ignore_index=255), function(logits, target, ignore_index=255))


@pytest.mark.parametrize('function', [tversky_loss, soft_dice_loss, soft_iou_loss, lovasz_softmax_loss])
def test_nan_in_a_valid_sample_reaches_the_loss(function):
    logits, target = random_batch((2, 4, 30), 0)
    logits[0, 1, 2] = float('nan')
    assert function(logits, target).isnan()


def test_lovasz_in_blocks_of_classes_equals_all_at_once(monkeypatch):
    logits, target = random_batch((2, 5, 30), 0.2)
    whole = lovasz_softmax_loss(logits, target, ignore_index=255, reduction='none')
    monkeypatch.setattr('mmrecall.functional.lovasz._BLOCK', 130)
    blocks = lovasz_softmax_loss(logits, target, ignore_index=255, reduction='none')
    assert torch.equal(whole, blocks)


def test_lovasz_weights_scale_each_samples_share_and_neither_order_nor_iou():
    logits, _ = random_batch((1, 2, 4), 0, seed=3)
    target, weight = torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0.5, 3.0, 1.0, 2.0]]).double()
    expected = 0.0
    for c in (0, 1):
        own = {n for n in range(4) if target[0, n] == c}
        errors = [abs((n in own) - oracle.probabilities(logits[0, :, n].tolist())[c]) for n in range(4)]
        wrong, before = set(), 0.0
        for n in sorted(range(4), key=lambda n: -errors[n]):
            wrong.add(n)
            loss = 1 - len(own - wrong) / len(own | wrong)
            expected += weight[0, n].item() * errors[n] * (loss - before) / 2
            before = loss
    assert lovasz_softmax_loss(logits, target, sample_weight=weight).item() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=40)
@given(
    classes=st.integers(2, 5), pixels=st.integers(1, 12), ignored=st.sampled_from([0.0, 0.5]), seed=st.integers(0, 999)
)
def test_losses_equal_loops_for_any_shape(classes, pixels, ignored, seed):
    logits, target = random_batch((1, classes, pixels), ignored, seed=seed)
    if (target == 255).all():
        target[0, 0] = 0
    lovasz = mean_of_present(oracle.lovasz_losses(logits, target, 255))
    assert lovasz_softmax_loss(logits, target, ignore_index=255).item() == pytest.approx(lovasz, abs=1e-9)
    iou = mean_of_present(oracle.tversky_losses(logits, target, 1, 1, 255))
    assert soft_iou_loss(logits, target, ignore_index=255).item() == pytest.approx(iou, abs=1e-9)


@pytest.mark.parametrize(
    ('function', 'options', 'error', 'message'),
    [
        (tversky_loss, dict(tversky_weights=(1, -1)), ValueError, 'tversky_weights'),
        (tversky_loss, dict(classes='some'), ValueError, "classes='some'"),
        (tversky_loss, dict(smooth=-1), ValueError, 'smooth=-1'),
        (tversky_loss, dict(class_weight=torch.ones(2)), ValueError, r'class_weight of shape \(2,\).*expected \(3,\)'),
        (
            lovasz_softmax_loss,
            dict(class_weight=-torch.ones(3)),
            ValueError,
            r'class_weight with 3 wrong .*-1; expected numbers of at least 0',
        ),
        (lovasz_softmax_loss, dict(classes='some'), ValueError, "classes='some'"),
        (lovasz_softmax_loss, dict(reduction='avg'), ValueError, "reduction='avg'"),
    ],
)
def test_bad_options_are_named(function, options, error, message):
    with pytest.raises(error, match=message):
        function(torch.zeros(2, 3), torch.tensor([0, 1]), **options)


def test_lovasz_of_soft_labels_is_refused():
    with pytest.raises(TypeError, match='class indices'):
        lovasz_softmax_loss(torch.zeros(2, 3), torch.ones(2, 3))
