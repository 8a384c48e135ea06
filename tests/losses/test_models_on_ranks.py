"""Several losses in one model on two ranks: in lists, on auxiliary heads, on both heads of a decoupled classifier."""

from types import SimpleNamespace
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from every_loss import CLASSES, counted
from oracle import random_batch
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip('mmpretrain')
pytest.importorskip('mmseg')

from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.models import decode_heads  # noqa: F401
from mmseg.structures import SegDataSample

from mmrecall.losses import distributed
from mmrecall.models.heads import SDNHead

RUNNING = dict(type='mmrecall.RecallLoss', alpha=0.5, num_classes=CLASSES)
# every loss that a decode head of mmseg adds up, in the order of the model
SEGMENTATION_LOSSES = (
    'decode_head.loss_decode.0',
    'decode_head.loss_decode.1',
    'auxiliary_head.loss_decode.0',
    'auxiliary_head.loss_decode.1',
)
CLASSIFICATION_LOSSES = ('feature_head.loss_module', 'classifier_head.loss_module')


def decode_head(in_channels, in_index, *losses):
    return dict(
        type='FCNHead', in_channels=in_channels, channels=4, num_convs=0, concat_input=False, dropout_ratio=0.0,
        num_classes=CLASSES, in_index=in_index, loss_decode=list(losses),
    )  # fmt: skip


def segmentor():
    """With two losses on the decode head and two on the auxiliary head; nothing in it looks at the batch."""
    backbone = dict(
        type='ResNet', depth=18, stem_channels=4, base_channels=4, num_stages=2, strides=(1, 2), dilations=(1, 1),
        out_indices=(0, 1), norm_cfg=dict(type='GN', num_groups=2),
    )  # fmt: skip
    main = decode_head(8, 1, RUNNING, dict(type='mmrecall.SoftDiceLoss'))
    main.update(in_channels=8, channels=8)
    auxiliary = decode_head(
        4,
        0,
        dict(type='mmrecall.SoftmaxFocalLoss', loss_weight=0.4),
        dict(type='mmrecall.LovaszSoftmaxLoss', per_image=True),
    )
    config = dict(
        type='EncoderDecoder', _scope_='mmseg', backbone=backbone, decode_head=main, auxiliary_head=auxiliary,
        test_cfg=dict(mode='whole'),
    )  # fmt: skip
    torch.manual_seed(1)
    return MODELS.build(config).double()


def segmentation_batch(part):
    """Three images on the first rank, one on the second, which are ignored to different shares."""
    images, _ = random_batch((4, 3, 16, 16), seed=3)
    _, target = random_batch((4, CLASSES, 16, 16), ignored=0.2, seed=4)
    target[3][target[3] == 2] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in target]
    return dict(inputs=images[part], data_samples=samples[part], mode='loss')


class Classifier(torch.nn.Module):
    """A decoupled head that is called as a model is."""

    def __init__(self):
        super().__init__()
        head = SDNHead(CLASSES, in_channels=3, alpha=0.5)
        head.init_weights()
        self.head = counted(head)

    def forward(self, features, samples):
        return self.head.loss((features,), samples)


def classifier():
    torch.manual_seed(1)
    return Classifier().double()


def classification_batch(part):
    features, target = random_batch((11, 3), ignored=0, seed=5)
    samples = [DataSample().set_gt_label(int(label)) for label in target]
    bounds = slice(0, 8) if part == FIRST else slice(8, 11) if part == SECOND else slice(0, 11)
    return dict(features=features[bounds], samples=samples[bounds])


FIRST, SECOND, WHOLE = slice(0, 3), slice(3, 4), slice(0, 4)
MODELS_AND_BATCHES = {
    'segmentation': (segmentor, segmentation_batch, SEGMENTATION_LOSSES),
    'classification': (classifier, classification_batch, tuple(f'head.{name}' for name in CLASSIFICATION_LOSSES)),
}


def step(model, batch):
    """The losses, and the gradient by which the model has moved."""
    model.zero_grad()
    logged = {name: value for name, value in model(**batch).items() if 'loss' in name}
    sum(logged.values()).backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    return {name: value.item() for name, value in logged.items()}, gradient.tolist()


def rank_steps(rank, world_size, task):
    build, batch_of, _ = MODELS_AND_BATCHES[task]
    model = DistributedDataParallel(build())
    return [step(model, batch_of((FIRST, SECOND)[rank])) for _ in range(2)][-1]


@pytest.mark.parametrize('task', MODELS_AND_BATCHES)
def test_a_model_with_several_losses_on_two_ranks_is_one_process_with_the_whole_batch(task, two_ranks):
    build, batch_of, names = MODELS_AND_BATCHES[task]
    model = build()
    losses, gradient = [step(model, batch_of(WHOLE)) for _ in range(2)][-1]
    assert len(losses) == len(names)
    (first, first_gradient), (second, second_gradient) = two_ranks.run(rank_steps, task)
    for name, value in losses.items():
        assert (first[name] + second[name]) / 2 == pytest.approx(value)
    assert first_gradient == second_gradient == pytest.approx(gradient)


def recorded_all_reduces(log):
    all_reduce = dist.all_reduce

    def record(tensor):
        log.append(tensor.numel())
        return all_reduce(tensor)

    return mock.patch.object(dist, 'all_reduce', record)


def rank_refuses(rank, world_size, task, where):
    """A good step, one that the loss ``where`` refuses on the second rank, a good one."""
    build, batch_of, _ = MODELS_AND_BATCHES[task]
    model = build()
    parallel, batch = DistributedDataParallel(model), batch_of((FIRST, SECOND)[rank])
    log, message = [], ''
    refusing = mock.patch.object(model.get_submodule(where), 'update', side_effect=ValueError('this one'))
    with recorded_all_reduces(log):
        step(parallel, batch)
        log.append('step')
        if rank == 1:
            refusing.start()
        try:
            step(parallel, batch)
        except ValueError as error:
            message = str(error)
        log.append('step')
        mock.patch.stopall()
        losses, _ = step(parallel, batch)
    return log, message, all(value == value for value in losses.values())


@pytest.mark.parametrize(
    ('task', 'where'), [(task, where) for task, (_, _, names) in MODELS_AND_BATCHES.items() for where in names]
)
def test_whichever_loss_refuses_on_one_rank_all_raise_there_and_stay_in_step(task, where, two_ranks):
    (log, message, went_on), second = two_ranks.run(rank_refuses, task, where)
    assert second == (log, 'this one', True)
    assert 'other rank(s) refused' in message
    assert went_on
    names = MODELS_AND_BATCHES[task][2]
    whole = log[: len(names)]
    # those after it are called on no rank
    assert log == [*whole, 'step', *whole[: names.index(where) + 1], 'step', *whole]


class OnGPU(torch.Tensor):
    """Labels that seem to lie on a GPU, where a loss judges them at its next call."""

    is_cuda = True


def rank_with_late_labels(rank, world_size):
    """A good step, one with a bad label on the second rank, two good ones, as on a GPU."""
    losses = [MODELS.build(RUNNING), MODELS.build(dict(type='mmrecall.SoftmaxFocalLoss', num_classes=CLASSES))]
    logits, good = torch.eye(CLASSES, requires_grad=True), torch.arange(CLASSES)
    bad = torch.tensor([0, 1, 2, 99]) if rank == 1 else good
    log, messages = [], []
    copy = mock.patch.object(
        distributed, '_copy_in_background', lambda flags: (flags.clone(), SimpleNamespace(synchronize=lambda: None))
    )
    capturing = mock.patch.object(torch.cuda, 'is_current_stream_capturing', return_value=False)
    with copy, capturing, recorded_all_reduces(log):
        for target in (good, bad, good, good):
            try:
                for loss in losses:
                    loss(logits, target.as_subclass(OnGPU))
                messages.append('')
            except ValueError as error:
                messages.append(str(error))
            log.append('step')
    return log, messages, losses[0].recall.tolist()


def test_a_bad_label_that_is_judged_a_step_late_is_raised_by_all_ranks_in_the_same_call(two_ranks):
    (log, messages, recall), (second_log, second_messages, second_recall) = two_ranks.run(rank_with_late_labels)
    running, focal = log[:2]
    # the running recall raises, and no rank goes on to the second loss, which raises a step later in its turn
    assert log == second_log == [running, focal, 'step'] * 2 + [running, 'step', running, focal, 'step']
    assert [bool(message) for message in messages] == [False, False, True, True]
    assert [bool(message) for message in second_messages] == [False, False, True, True]
    assert 'another rank' in messages[2]
    assert 'from 99 to 99' in second_messages[2]
    # moved by the first step and the last
    assert recall == second_recall == [0.75] * CLASSES
