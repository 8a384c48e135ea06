import copy
import io
import pickle
from types import SimpleNamespace

import oracle
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import random_batch
from torch.utils.checkpoint import checkpoint

from mmrecall.functional import class_statistics, recall_cross_entropy
from mmrecall.functional.batch import Sums
from mmrecall.losses import RecallLoss
from mmrecall.losses.distributed import LabelCheck

pytestmark = pytest.mark.usefixtures('fused_however_small')


def batch_with_recall(hits, misses, num_classes=3):
    """Logits and labels in which class c has hits[c] true positives and misses[c] false negatives."""
    rows, labels = [], []
    for c, (hit, miss) in enumerate(zip(hits, misses, strict=True)):
        for guess, times in ((c, hit), ((c + 1) % num_classes, miss)):
            for _ in range(times):
                row = [0.0] * num_classes
                row[guess] = 2.0
                rows.append(row)
                labels.append(c)
    return torch.tensor(rows, requires_grad=True), torch.tensor(labels)


@pytest.mark.parametrize('normalizer', ['valid', 'all', 'weight'])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_module_equals_function(normalizer, reduction):
    logits, target = random_batch()
    weight = torch.rand(target.shape, dtype=torch.float64)
    loss = RecallLoss(normalizer=normalizer, reduction=reduction, fn_floor=1.0)
    expected = recall_cross_entropy(
        logits, target, ignore_index=255, sample_weight=weight, normalizer=normalizer, reduction=reduction, fn_floor=1
    )
    torch.testing.assert_close(loss(logits, target, weight=weight, ignore_index=255), expected)


def test_running_recall_follows_the_hand_computed_sequence():
    loss = RecallLoss(alpha=0.9, num_classes=3)
    assert loss.recall.tolist() == [0, 0, 0]
    loss(*batch_with_recall([1, 2, 0], [1, 0, 0]))
    assert loss.recall.tolist() == pytest.approx([0.45, 0.9, 0.0])
    loss(*batch_with_recall([0, 0, 3], [4, 0, 1]))  # class 1 is absent: it stays
    assert loss.recall.tolist() == pytest.approx([0.045, 0.9, 0.675])
    loss(*batch_with_recall([0, 1, 0], [0, 1, 0]))
    assert loss.recall.tolist() == pytest.approx([0.045, 0.54, 0.675])


def test_two_images_a_class_reach_a_recall_of_017_in_90_epochs_at_alpha_0001():
    loss = RecallLoss(alpha=0.001, num_classes=2)
    logits, target = batch_with_recall([0, 1], [0, 0], num_classes=2)
    for _ in range(2 * 90):
        loss(logits, target)
    assert loss.recall[1].item() == pytest.approx(1 - 0.999**180, rel=1e-4)
    assert 0.16 < loss.recall[1].item() < 0.17


def test_first_step_uses_the_recall_after_the_update():
    logits, target = batch_with_recall([1, 2, 1], [1, 0, 1])
    loss = RecallLoss(alpha=0.5, num_classes=3)
    expected = oracle.recall_loss(logits, target, recall=[0.25, 0.5, 0.25])
    assert loss(logits, target).item() == pytest.approx(expected)


def test_nothing_recalled_yet_is_plain_cross_entropy():
    logits, target = batch_with_recall([0, 0, 0], [2, 3, 4])
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(RecallLoss(alpha=0.1, num_classes=3)(logits, target), expected)


@pytest.mark.parametrize('outside', ['eval', 'no_grad'])
def test_outside_training_the_stored_recall_is_used_and_never_moved(outside):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits, target = batch_with_recall([1, 2, 1], [1, 0, 1])
    loss.recall.copy_(torch.tensor([0.5, 0.25, 0.0]))
    if outside == 'eval':
        value = loss.eval()(logits, target)
    else:
        with torch.no_grad():
            value = loss(logits, target)
    assert loss.recall.tolist() == [0.5, 0.25, 0.0]
    assert value.item() == pytest.approx(oracle.recall_loss(logits, target, recall=[0.5, 0.25, 0.0]))


def test_the_default_type_of_numbers_does_not_matter_to_a_running_recall():
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits, target = batch_with_recall([1, 2, 1], [1, 0, 1])
    default = torch.get_default_dtype()
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            loss.recall.zero_()
            loss(logits, target)
        finally:
            torch.set_default_dtype(default)
        assert loss.recall.tolist() == [0.25, 0.5, 0.25]


@pytest.mark.parametrize('nonfinite', [float('nan'), float('inf'), float('-inf')])
def test_logits_that_are_not_finite_leave_the_running_recall_untouched(nonfinite):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits, target = batch_with_recall([1, 2, 1], [1, 0, 1])
    nonfinite_logits = logits.detach().clone()
    nonfinite_logits[0, 0] = nonfinite
    loss(nonfinite_logits.requires_grad_(), target)
    assert loss.recall.tolist() == [0, 0, 0]
    loss(logits, target)
    assert loss.recall.tolist() == [0.25, 0.5, 0.25]


def test_soft_labels_move_the_recall_of_the_classes_with_the_largest_mass_only():
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]], requires_grad=True)
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.6, 0.4, 0.0]])
    loss(logits, soft)
    # class 1 has mass 0.7, of which 0.4 is predicted, but it leads no sample
    assert loss.recall.tolist() == pytest.approx([0.5 * 0.7 / 1.3, 0.0, 0.0])


def test_no_valid_sample_gives_zero_with_a_graph_and_leaves_the_running_recall():
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), 255), ignore_index=255)
    value.backward()
    assert value == 0
    assert logits.grad.abs().sum() == 0
    assert loss.recall.tolist() == [0, 0, 0]


@pytest.mark.parametrize('shape', [(0, 3), (0, 3, 4, 4)])
def test_an_empty_batch_works(shape):
    logits = torch.zeros(shape, requires_grad=True)
    for loss in (RecallLoss(), RecallLoss(alpha=0.5, num_classes=3)):
        value = loss(logits, torch.zeros(shape[0], *shape[2:], dtype=torch.long))
        value.backward()
        assert value == 0


def test_state_survives_save_and_load():
    loss = RecallLoss(alpha=0.5, num_classes=3)
    loss(*batch_with_recall([1, 2, 1], [1, 0, 1]))
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    other = RecallLoss(alpha=0.5, num_classes=3)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.recall.tolist() == [0.25, 0.5, 0.25]
    assert list(loss.state_dict()) == ['recall']


def test_batch_form_has_no_state_and_no_buffer_appears_later():
    loss = RecallLoss(class_weight={1: 2.0})
    loss(*batch_with_recall([1, 2, 1], [1, 0, 1]))
    assert list(loss.state_dict()) == list(loss.buffers()) == []


@pytest.mark.parametrize('cast', ['half', 'bfloat16', 'double'])
def test_the_running_recall_stays_float32_and_exact(cast):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    loss.recall.fill_(0.1)
    getattr(torch.nn.Sequential(loss), cast)()
    assert loss.recall.dtype == torch.float32
    assert loss.recall[0] == torch.tensor(0.1)


@pytest.mark.parametrize('clone', [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_copies_go_on_alone(clone):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    batch = batch_with_recall([1, 2, 1], [1, 0, 1])
    loss(*batch)
    other = clone(loss)
    other(*batch)
    assert loss.recall.tolist() == [0.25, 0.5, 0.25]
    assert other.recall.tolist() == [0.375, 0.75, 0.375]


@pytest.mark.parametrize(
    ('class_weight', 'classes'),
    [([0.5, 1.0, 3.0], None), ({0: 0.5, 2: 3.0}, None), ({'road': 0.5, 'pole': 3.0}, ('road', 'car', 'pole'))],
)
@pytest.mark.parametrize('num_classes', [None, 3])
def test_class_weights_by_list_index_or_name_are_factors_on_top(class_weight, classes, num_classes):
    logits, target = batch_with_recall([1, 2, 1], [1, 1, 1])
    loss = RecallLoss(class_weight=class_weight, classes=classes, num_classes=num_classes)
    expected = oracle.recall_loss(logits, target, class_weight=[0.5, 1.0, 3.0])
    assert loss(logits, target).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ('options', 'factors'),
    [
        (dict(), [1.0, 1.0]),
        (dict(num_classes=2), [1.0, 1.0]),
        (dict(class_weight=[0.5, 3.0]), [0.5, 3.0]),
        (dict(class_weight={'pole': 3.0}, classes=('road', 'pole')), [1.0, 3.0]),
    ],
)
def test_no_object_is_a_class_more_whose_weight_is_fixed(options, factors):
    logits, target = batch_with_recall([1, 0, 4], [1, 2, 0])
    loss = RecallLoss(**options, no_object_weight=0.3)
    # the recall of the last class is 1
    weights = torch.tensor([0.5 * factors[0], 1.0 * factors[1], 0.3])
    expected = F.cross_entropy(logits, target, weights, reduction='sum') / 8
    torch.testing.assert_close(loss(logits, target), expected)
    counts = class_statistics(logits, target)
    torch.testing.assert_close(loss.class_weights(counts).float(), weights)


def test_the_running_recall_of_no_object_moves_and_is_not_used():
    logits, target = batch_with_recall([1, 0, 4], [1, 2, 0])
    loss = RecallLoss(alpha=0.5, num_classes=2, no_object_weight=0.3)
    value = loss(logits, target)
    assert loss.recall.tolist() == [0.25, 0.0, 0.5]
    expected = F.cross_entropy(logits, target, torch.tensor([0.75, 1.0, 0.3]), reduction='sum') / 8
    torch.testing.assert_close(value, expected)


def test_avg_factor_stands_in_for_the_number_of_all_samples_only():
    logits, target = batch_with_recall([1, 2, 1], [1, 1, 1])
    total = oracle.recall_loss(logits, target, reduction='sum')
    assert RecallLoss(normalizer='all')(logits, target, avg_factor=2).item() == pytest.approx(total / 2)
    assert RecallLoss(normalizer='all')(logits, target).item() == pytest.approx(total / 7)
    assert RecallLoss()(logits, target, avg_factor=2).item() == pytest.approx(total / 7)
    assert RecallLoss(normalizer='all')(logits, target, avg_factor=0) == 0


def test_call_signature_of_both_codebases():
    logits, target = batch_with_recall([1, 2, 1], [1, 1, 1])
    loss = RecallLoss(loss_weight=0.5, loss_name='loss_other')
    total = oracle.recall_loss(logits, target, reduction='sum')
    assert loss.loss_name == 'loss_other'
    assert loss(logits, target, reduction_override='sum', data_samples=None).item() == pytest.approx(total / 2)
    assert loss(logits, target, None, 7, 'none', 255).shape == target.shape


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(alpha=0), 'alpha=0'),
        (dict(no_object_weight=-1), 'no_object_weight=-1'),
        (dict(alpha=1.5, num_classes=3), 'alpha=1.5'),
        (dict(alpha=0.5), 'set num_classes'),
        (dict(alpha=0.5, num_classes=3, metric='iou'), 'running mean is that of the recall'),
        (dict(alpha=0.5, num_classes=3, fn_floor=1), 'running mean is that of the recall'),
        (dict(metric='accuracy'), "metric='accuracy'"),
        (dict(normalizer='pixels'), "normalizer='pixels'"),
        (dict(reduction='avg'), "reduction='avg'"),
        (dict(loss_name='recall'), "loss_name='recall'"),
        (dict(num_classes=2, classes=('a', 'b', 'c')), 'num_classes=2'),
        (dict(num_classes=3, class_weight=[1, 2]), 'class_weight with 2 entries, .*; expected 3'),
        (dict(num_classes=2, class_weight=[1, -2]), 'at least 0'),
        (dict(num_classes=2, class_weight={5: 1.0}), r'class_weight\[5\]; expected classes from 0 to 1'),
        (dict(num_classes=2, class_weight={0.0: 1.0}), r'class_weight\[0\.0\]'),
        (dict(num_classes=0, alpha=0.5), 'num_classes=0'),
        (dict(metric='tversky', tversky_weights=0.5), 'tversky_weights=0.5'),
        (dict(num_classes=2, class_weight={'pole': 1.0}), 'without class names'),
        (dict(classes=('a', 'b'), class_weight={'pole': 1.0}), r"class_weight\['pole'\]; expected one of the classes"),
        (dict(metric='tversky', tversky_weights=(1, -1)), 'tversky_weights'),
    ],
)
def test_bad_options_are_named_when_the_loss_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        RecallLoss(**options)


BAD_CALLS = {
    'label outside': (torch.zeros(2, 3), torch.tensor([0, 9]), {}, ValueError, r'9.*num_classes.*ignore_index'),
    'wrong shape': (torch.zeros(2, 3, 4), torch.zeros(2, 5).long(), {}, ValueError, r'\(2, 5\)'),
    'integer logits': (torch.zeros(2, 3).long(), torch.tensor([0, 1]), {}, TypeError, 'logits'),
    'other number of classes': (torch.zeros(2, 4), torch.tensor([0, 1]), {}, ValueError, '4 channels.*for 3 classes'),
    'sigmoid head': (torch.zeros(2, 1, 4), torch.zeros(2, 4).long(), {}, ValueError, 'two channels'),
    'soft label below zero': (torch.zeros(1, 3), torch.tensor([[1, 0, -1.0]]), {}, ValueError, '-1.0'),
    'reduction': (torch.zeros(2, 3), torch.tensor([0, 1]), {'reduction_override': 'avg'}, ValueError, "'avg'"),
    'avg_factor': (torch.zeros(2, 3), torch.tensor([0, 1]), {'avg_factor': -1}, ValueError, 'avg_factor=-1'),
    'weight': (torch.zeros(2, 3), torch.tensor([0, 1]), {'weight': torch.ones(3)}, ValueError, r'\(3,\)'),
}


@pytest.mark.parametrize('case', BAD_CALLS)
def test_bad_input_is_named_and_leaves_the_state(case):
    logits, target, options, error, message = BAD_CALLS[case]
    loss = RecallLoss(alpha=0.5, num_classes=3)
    with pytest.raises(error, match=message):
        loss(logits, target, **options)
    assert loss.recall.tolist() == [0, 0, 0]
    loss(*batch_with_recall([1, 2, 1], [1, 0, 1]))
    assert loss.recall.tolist() == [0.25, 0.5, 0.25]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.gpu
def test_on_a_gpu_a_bad_label_is_named_one_step_late_and_never_asserts_on_the_device():
    loss = RecallLoss(alpha=0.5, num_classes=3).cuda()
    logits, target = (tensor.detach().cuda() for tensor in batch_with_recall([1, 2, 1], [1, 0, 1]))
    logits.requires_grad_()
    bad = target.clone()
    bad[0] = 9
    loss(logits, bad).backward()
    assert loss.recall.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match='from 9 to 9'):
        loss(logits, target)
    loss(logits, target)
    assert loss.recall.tolist() == [0.25, 0.5, 0.25]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.gpu
@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(normalizer='all'),
        dict(normalizer='weight'),
        dict(class_weight=[1, 2, 3]),
        dict(alpha=0.5, num_classes=3),
    ],
)
def test_on_a_gpu_no_step_waits_for_the_device(options, soft):
    loss = RecallLoss(**options)
    logits = torch.randn(2, 3, 8, 8, device='cuda', requires_grad=True)
    target = torch.rand(2, 3, 8, 8, device='cuda').softmax(1) if soft else torch.randint(0, 3, (2, 8, 8), device='cuda')
    loss = loss.cuda()
    loss(logits, target).backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        for _ in range(3):
            loss(logits, target, avg_factor=2).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')


@settings(max_examples=40)
@given(
    batches=st.lists(st.integers(0, 2**16), min_size=1, max_size=5),
    num_classes=st.integers(2, 5),
    ignored=st.sampled_from([0.0, 0.5, 1.0]),
    alpha=st.sampled_from([0.001, 0.5, 0.9]),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
)
def test_running_recall_equals_a_loop_over_any_batches(batches, num_classes, ignored, alpha, dtype):
    loss = RecallLoss(alpha=alpha, num_classes=num_classes)
    expected = [0.0] * num_classes
    for seed in batches:
        logits, target = random_batch((2, num_classes, 3), ignored, dtype=dtype, seed=seed)
        logits.requires_grad_()
        value = loss(logits, target, ignore_index=255)
        support, _, true_positives = oracle.counts(logits, target, 255)
        expected = [
            alpha * tp / n + (1 - alpha) * r if n else r
            for n, tp, r in zip(support, true_positives, expected, strict=True)
        ]
        assert loss.recall.tolist() == pytest.approx(expected, abs=1e-6)
        assert value.item() == pytest.approx(
            oracle.recall_loss(logits, target, 255, recall=expected), rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize('use_reentrant', [True, False])
def test_activation_checkpointing_moves_the_running_recall_once(use_reentrant):
    features, target = torch.randn(64, 8, requires_grad=True), torch.randint(4, (64,))
    head = torch.nn.Linear(8, 4)
    plain, checkpointed = (RecallLoss(alpha=0.5, num_classes=4) for _ in range(2))
    for _ in range(3):
        (expected,) = torch.autograd.grad(plain(head(features), target), head.weight)
        head.zero_grad()
        checkpoint(lambda x: checkpointed(head(x), target), features, use_reentrant=use_reentrant).backward()
        torch.testing.assert_close(head.weight.grad, expected)
        torch.testing.assert_close(checkpointed.recall, plain.recall)


def test_a_recall_that_was_assigned_in_half_precision_moves_in_float32():
    loss = RecallLoss(alpha=0.001, num_classes=3)
    loss.load_state_dict({'recall': torch.tensor([0.5, 0.5, 0.5], dtype=torch.float16)}, assign=True)
    logits, target = batch_with_recall([1, 1, 1], [0, 0, 0])
    for _ in range(100):
        loss(logits, target)
    torch.testing.assert_close(loss.recall, torch.full((3,), 1 - 0.5 * 0.999**100))


TRANSFORMED = {
    'vmap': lambda loss: torch.func.vmap(loss),
    'grad': lambda loss: lambda logits, target: torch.func.grad(loss)(logits[0], target[0]),
    'vmap of grad': lambda loss: torch.func.vmap(torch.func.grad(loss)),
}


@pytest.mark.parametrize('name', TRANSFORMED)
def test_a_transform_that_cannot_move_the_running_recall_is_refused(name):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits, target = torch.randn(5, 8, 3), torch.randint(3, (5, 8))
    with pytest.raises(RuntimeError, match=r'RecallLoss\(alpha=0.5\) inside a transform of torch.func.*loss.eval\(\)'):
        TRANSFORMED[name](loss)(logits, target)
    assert not loss.recall.any()
    assert TRANSFORMED[name](loss.eval())(logits, target).isfinite().all()


def test_vmap_over_losses_moves_the_running_recall_of_each():
    losses = [RecallLoss(alpha=0.5, num_classes=3) for _ in range(5)]
    logits, target = torch.randn(5, 8, 3), torch.randint(3, (5, 8))
    _, state = torch.func.stack_module_state(losses)
    found = torch.func.vmap(lambda *call: torch.func.functional_call(losses[0], call[0], call[1:]))(
        state, logits, target
    )
    expected = [loss(*batch) for loss, *batch in zip(losses, logits, target, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))
    torch.testing.assert_close(state['recall'], torch.stack([loss.recall for loss in losses]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.gpu
@pytest.mark.parametrize('options', [dict(), dict(alpha=0.5, num_classes=5)])
def test_on_a_gpu_a_cuda_graph_of_a_training_step_gives_the_same_for_a_new_batch(options):
    loss, plain = RecallLoss(**options).cuda(), RecallLoss(**options).cuda()
    logits = torch.randn(2, 5, 16, 16, device='cuda', requires_grad=True)
    target = torch.randint(0, 5, (2, 16, 16), device='cuda')

    def step(function):
        value = function(logits, target)
        return value.detach(), torch.autograd.grad(value, logits)[0]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            step(loss)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(loss)
    with torch.no_grad():
        logits.normal_()
        target.random_(0, 5)
    plain.load_state_dict(loss.state_dict())
    expected = step(plain)
    graph.replay()
    for found, wanted in zip(captured, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    if loss.recall is not None:
        torch.testing.assert_close(loss.recall, plain.recall)
    # the check of the labels goes on outside of graphs
    target[0, 0, 0] = 9
    graph.replay()
    loss(logits, target)
    with pytest.raises(ValueError, match='from 9 to 9'):
        loss(logits, target)


def test_while_a_cuda_graph_is_captured_no_label_is_checked(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: True)
    check = LabelCheck()
    one = torch.ones(())
    check(Sums(None, one, invalid_labels=one), SimpleNamespace(is_cuda=True), 3, 255, True)
    assert check._pending is None
