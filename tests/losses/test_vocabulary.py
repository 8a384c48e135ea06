"""What every registered loss must be able to do."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from every_loss import CLASSES, LOSSES, REGION, WITHOUT_SOFT_LABELS, counted, make, registered
from oracle import random_batch
from torch import nn

from mmrecall import losses

pytestmark = pytest.mark.usefixtures('fused_however_small')


def value_and_gradient(loss, logits, target, **options):
    leaf = logits.detach().clone().requires_grad_()
    value = loss(leaf, target, ignore_index=255, **options)
    value.sum().backward()
    return value.detach(), leaf.grad


def as_vectors(logits, target):
    return logits.movedim(1, -1).reshape(-1, logits.shape[1]), target.reshape(-1)


def test_the_vocabulary_knows_every_registered_loss():
    assert registered() == {cls for cls, _ in LOSSES.values()}


@pytest.mark.parametrize('name', LOSSES)
class TestEveryLoss:
    def test_segmentation_is_classification_of_every_pixel(self, name):
        if name == 'lovasz per image':
            pytest.skip('an image is not its pixels here')
        logits, target = random_batch((2, CLASSES, 6, 5), 0.2)
        dense, gradient = value_and_gradient(make(name), logits, target)
        flat, flat_gradient = value_and_gradient(make(name), *as_vectors(logits, target))
        torch.testing.assert_close(dense, flat)
        torch.testing.assert_close(gradient.movedim(1, -1).reshape(-1, CLASSES), flat_gradient)

    @pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
    def test_the_module_is_built_with_or_called_with_a_reduction(self, name, reduction):
        logits, target = random_batch((2, CLASSES, 6, 5), 0.2)
        built = make(name, reduction=reduction)(logits, target, ignore_index=255)
        called = make(name)(logits, target, ignore_index=255, reduction_override=reduction)
        torch.testing.assert_close(built, called)
        if reduction == 'none':
            shape = (CLASSES,) if name in REGION else (2, CLASSES) if name == 'lovasz per image' else target.shape
            assert built.shape == shape
            total = make(name)(logits, target, ignore_index=255, reduction_override='sum')
            torch.testing.assert_close(built.sum(), total)
        else:
            assert built.shape == ()

    def test_an_ignored_sample_is_as_if_it_were_not_there(self, name):
        logits, target = random_batch((2, CLASSES, 40), 0.3)
        vectors, labels = as_vectors(logits, target)
        valid = labels != 255
        if name == 'lovasz per image':
            logits, target = vectors, labels
        with_ignored, gradient = value_and_gradient(make(name), logits, target)
        without, _ = value_and_gradient(make(name), vectors[valid], labels[valid])
        torch.testing.assert_close(with_ignored, without)
        assert as_vectors(gradient, labels)[0][~valid].abs().sum() == 0

    def test_all_ignored_gives_zero_with_a_graph(self, name):
        for shape in ((3, CLASSES), (2, CLASSES, 4, 3)):
            target = torch.full((shape[0], *shape[2:]), 255)
            value, gradient = value_and_gradient(make(name), torch.randn(shape), target)
            assert value == 0
            assert gradient.abs().sum() == 0

    def test_an_empty_batch_gives_zero_with_a_graph(self, name):
        for shape in ((0, CLASSES), (0, CLASSES, 4, 3), (2, CLASSES, 0, 3)):
            target = torch.zeros(shape[0], *shape[2:], dtype=torch.long)
            value, _ = value_and_gradient(make(name), torch.zeros(shape), target)
            assert value == 0

    def test_one_class_present_works(self, name):
        logits, _ = random_batch((2, CLASSES, 8), 0)
        value, gradient = value_and_gradient(make(name), logits, torch.ones(2, 8, dtype=torch.long))
        assert value > 0
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0

    def test_bfloat16_under_autocast_equals_float32_of_the_same_numbers(self, name):
        logits, target = random_batch((2, CLASSES, 6, 5), dtype=torch.bfloat16)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            value = make(name)(logits, target, ignore_index=255)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, make(name)(logits.float(), target, ignore_index=255))

    def test_logits_of_ten_thousand_stay_finite(self, name):
        logits, target = random_batch((2, CLASSES, 6, 5), dtype=torch.float32)
        value, gradient = value_and_gradient(make(name), 1e4 * logits.sign(), target)
        assert value.isfinite()
        assert gradient.isfinite().all()

    def test_gradcheck_in_float64(self, name):
        logits, target = random_batch((2, CLASSES, 5), seed=2)
        # in eval mode the running recall stays, so that every evaluation sees the same function
        loss = make(name).eval()
        assert torch.autograd.gradcheck(lambda x: loss(x, target, ignore_index=255), logits.requires_grad_())

    def test_compiled_equals_eager(self, name):
        logits, target = random_batch((2, CLASSES, 6, 5), dtype=torch.float32)
        torch._dynamo.reset()
        compiled = torch.compile(make(name), backend='aot_eager')
        value, gradient = value_and_gradient(compiled, logits, target)
        expected, expected_gradient = value_and_gradient(make(name), logits, target)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient, expected_gradient)

    @pytest.mark.parametrize('clone', [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
    def test_copies_give_the_same_loss(self, name, clone):
        loss = make(name)
        batch = random_batch((2, CLASSES, 6))
        loss(batch[0].requires_grad_(), batch[1], ignore_index=255)
        other = clone(loss)
        torch.testing.assert_close(*(one(*batch, ignore_index=255) for one in (loss, other)))

    def test_state_survives_a_checkpoint(self, name):
        loss = make(name)
        batch = random_batch((2, CLASSES, 6))
        loss(batch[0].requires_grad_(), batch[1], ignore_index=255)
        file = io.BytesIO()
        torch.save(loss.state_dict(), file)
        file.seek(0)
        cls, options = LOSSES[name]
        other = cls(**options)
        other.load_state_dict(torch.load(file, weights_only=True))
        torch.testing.assert_close(*(one.eval()(*batch, ignore_index=255) for one in (loss, other)))

    def test_soft_labels_of_one_class_equal_integers_or_are_refused(self, name):
        logits, target = random_batch((6, CLASSES), 0)
        soft = nn.functional.one_hot(target, CLASSES).double()
        if name in WITHOUT_SOFT_LABELS:
            with pytest.raises(TypeError, match='class indices'):
                make(name)(logits, soft)
        else:
            torch.testing.assert_close(make(name)(logits, soft), make(name)(logits, target))

    def test_sample_weights_of_two_and_a_loss_weight_of_a_half_cancel(self, name):
        if name == 'iou of all classes':
            pytest.skip('its smooth is a number of samples, which the weights do not scale')
        logits, target = random_batch((2, CLASSES, 6))
        weighted = make(name, loss_weight=0.5)(
            logits, target, weight=torch.full(target.shape, 2.0).double(), ignore_index=255
        )
        # a region loss is a ratio of sums
        factor = 0.5 if name in ('tversky', 'dice', 'iou', 'weighted dice') else 1
        torch.testing.assert_close(weighted, factor * make(name)(logits, target, ignore_index=255))

    def test_every_sample_has_its_own_weight(self, name):
        if name in REGION or name == 'lovasz per image':
            pytest.skip('no sum over samples; see tests/functional/test_region.py')
        logits, target = random_batch((2, CLASSES, 6))
        weight = torch.rand(target.shape, dtype=torch.float64)
        options = dict(ignore_index=255, reduction_override='none')
        plain = make(name)(logits, target, **options)
        torch.testing.assert_close(make(name)(logits, target, weight=weight, **options), plain * weight)
        total = make(name)(logits, target, weight=weight, ignore_index=255, reduction_override='sum')
        torch.testing.assert_close(total, (plain * weight).sum())

    def test_loss_name_and_unknown_keywords_are_accepted(self, name):
        logits, target = random_batch((2, CLASSES, 6))
        loss = make(name, loss_name='loss_other')
        assert loss.loss_name == 'loss_other'
        assert make(name).loss_name.startswith('loss_')
        value = loss(logits, target, None, 7, None, 255, data_samples=[])
        assert value.isfinite()

    def test_a_list_of_losses_in_a_decode_head_adds_up(self, name):
        heads = pytest.importorskip('mmseg.models.decode_heads')
        samples = pytest.importorskip('mmseg.structures').SegDataSample
        pixel_data = pytest.importorskip('mmengine.structures').PixelData
        cls, options = LOSSES[name]
        config = dict(type=f'mmrecall.{cls.__name__}', **options)
        head = heads.FCNHead(
            in_channels=3, channels=3, num_convs=0, concat_input=False, num_classes=CLASSES, in_index=0, loss_decode=[
                dict(type='mmrecall.RecallLoss', loss_name='loss_first'), {**config, 'loss_name': 'loss_second'},
            ],
        )  # fmt: skip
        counted(head)
        _, target = random_batch((2, CLASSES, 6, 5), 0.2)
        batch = [samples(gt_sem_seg=pixel_data(data=one[None])) for one in target]
        logged = head.loss([torch.randn(2, 3, 6, 5)], batch, {})
        assert logged['loss_second'] > 0
        sum(value for key, value in logged.items() if 'loss' in key).backward()
        assert head.conv_seg.weight.grad.isfinite().all()

    def test_an_mmpretrain_head_trains_with_it(self, name):
        heads = pytest.importorskip('mmpretrain.models.heads')
        samples = pytest.importorskip('mmpretrain.structures').DataSample
        cls, options = LOSSES[name]
        head = heads.LinearClsHead(CLASSES, 3, loss=dict(type=f'mmrecall.{cls.__name__}', **options))
        counted(head)
        batch = [samples().set_gt_label(label) for label in (0, 1, 2, 3, 1)]
        value = head.loss((torch.randn(5, 3),), batch)['loss']
        value.backward()
        assert value > 0
        assert head.fc.weight.grad.abs().sum() > 0

    @pytest.mark.parametrize(
        ('logits', 'target', 'options', 'error', 'message'),
        [
            (torch.zeros(2, CLASSES), torch.tensor([0, 9]), {}, ValueError, r'9.*num_classes.*ignore_index'),
            (torch.zeros(2, CLASSES, 4), torch.zeros(2, 5).long(), {}, ValueError, r'\(2, 5\)'),
            (torch.zeros(2, CLASSES).long(), torch.tensor([0, 1]), {}, TypeError, 'logits'),
            (torch.zeros(2, 1, 4), torch.zeros(2, 4).long(), {}, ValueError, 'two channels'),
            (torch.zeros(2, CLASSES), torch.tensor([0, 1]), {'reduction_override': 'avg'}, ValueError, "'avg'"),
            (torch.zeros(2, CLASSES), torch.tensor([0, 1]), {'avg_factor': -1}, ValueError, 'avg_factor=-1'),
            (torch.zeros(2, CLASSES), torch.tensor([0, 1]), {'weight': torch.ones(3)}, ValueError, r'\(3,\)'),
        ],
    )
    def test_wrong_inputs_are_named(self, name, logits, target, options, error, message):
        with pytest.raises(error, match=message):
            make(name)(logits, target, **options)

    def test_wrong_options_are_named_when_it_is_built(self, name):
        with pytest.raises(ValueError, match="loss_name='recall'"):
            make(name, loss_name='recall')
        with pytest.raises(ValueError, match="reduction='avg'"):
            make(name, reduction='avg')
        with pytest.raises(
            TypeError, match=r"got 'no_such_option', which is no option of .*; expected .*loss_weight.*_delete_=True"
        ):
            make(name, no_such_option=1)

    def test_a_delete_mark_that_mmengine_leaves_is_taken_away(self, name):
        logits, target = random_batch((2, CLASSES, 6), 0.2)
        marked = make(name, _delete_=True)(logits, target, ignore_index=255)
        torch.testing.assert_close(marked, make(name)(logits, target, ignore_index=255))

    @pytest.mark.parametrize('dtype', [torch.long, torch.int32, torch.bool])
    def test_integer_one_hot_labels_are_class_indices(self, name, dtype):
        logits, target = random_batch((40, CLASSES), 0)
        one_hot = torch.nn.functional.one_hot(target, CLASSES).to(dtype)
        if name in WITHOUT_SOFT_LABELS:
            with pytest.raises((TypeError, ValueError), match='target'):
                make(name)(logits, one_hot)
        else:
            torch.testing.assert_close(make(name)(logits, one_hot), make(name)(logits, target))
            logits[3] = float('nan')
            found, expected = (make(name).nonfinite_classes(logits, labels) for labels in (one_hot, target))
            assert found.tolist() == expected.tolist()

    def test_vmap_over_batches_is_a_loop_over_them(self, name):
        logits, target = random_batch((24, CLASSES), 0)
        logits, target = logits.reshape(3, 8, CLASSES), target.reshape(3, 8)
        loss = make(name).eval()
        found = torch.func.vmap(loss)(logits, target)
        torch.testing.assert_close(found, torch.stack([loss(*batch) for batch in zip(logits, target, strict=True)]))

    def test_a_bad_label_inside_torch_func_grad_is_named(self, name):
        logits, target = random_batch((8, CLASSES), 0)
        loss = make(name)
        # the first call computes weights from class counts, which PyTorch 2.1 cannot read inside the transform
        loss(logits, target)
        target[0] = 9
        with pytest.raises(ValueError, match='9'):
            torch.func.grad(lambda x, y: loss(x, y))(logits, target)

    def test_the_ignored_label_may_be_the_losss_own_or_the_callers(self, name):
        logits, target = random_batch((2, CLASSES, 6, 5), 0.2)
        expected = make(name)(logits, target, ignore_index=255)
        torch.testing.assert_close(make(name, ignore_index=255)(logits, target), expected)
        torch.testing.assert_close(make(name, ignore_index=3)(logits, target, ignore_index=255), expected)


def test_every_loss_class_takes_the_common_options():
    common = {'reduction', 'loss_weight', 'loss_name', 'sync', 'num_classes'}
    base = inspect.signature(losses.base.BaseLoss.__init__).parameters
    assert common <= set(base)
    for cls, options in LOSSES.values():
        cls(**{**options, 'num_classes': CLASSES, 'sync': False, 'loss_weight': 0.1})
