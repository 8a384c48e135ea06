"""Class means and the choice of tau: equal to loops, on one rank and on two."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.hooks import EMAHook
from sdn_network import CLASSES, network_config
from second_stages import LINEAR, features, first_stage, images, second_runner

from mmrecall.models.heads import NearestClassMeanHead

NCM = dict(type='mmrecall.NearestClassMeanHead')
TAU = dict(type='mmrecall.TauNormHead')
MEANS = dict(type='mmrecall.ClassMeansLoop')
SELECTION = dict(type='mmrecall.TauSelectionLoop', taus=[1.0, 0.0, 0.5])
SEPARATE = dict(model_wrapper_cfg=dict(type='MMSeparateDistributedDataParallel', device_ids=None))


def numpy_means(vectors, labels):
    vectors, labels = vectors.double().numpy(), np.array(labels)
    return np.stack([vectors[labels == c].mean(0) for c in range(CLASSES)])


def test_the_means_are_those_of_a_numpy_loop_and_in_the_checkpoint(tmp_path):
    path, _ = first_stage(tmp_path)
    second_runner(tmp_path, NCM, path, MEANS).train()
    saved = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    vectors, labels = features(tmp_path, path)
    np.testing.assert_allclose(saved['head.means'].numpy(), numpy_means(vectors, labels), rtol=1e-5, atol=1e-6)
    assert saved['head.counts'].tolist() == [5, 4, 2]


def means_on_a_rank(rank, world_size, root, path):
    runner = second_runner(Path(root), NCM, path, MEANS, launcher='pytorch', cfg=SEPARATE)
    runner.train()
    head = runner.model.module.head
    return head.means.tolist(), head.counts.tolist()


def test_two_ranks_take_the_means_of_all_images(two_ranks, tmp_path):
    path, _ = first_stage(tmp_path)
    vectors, labels = features(tmp_path, path)
    found = two_ranks.run(means_on_a_rank, str(tmp_path), path)
    assert found[0] == found[1]
    # 11 images: no image counts twice to make the ranks even
    assert found[0][1] == [5, 4, 2]
    np.testing.assert_allclose(found[0][0], numpy_means(vectors, labels), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('distance', ['cosine', 'euclidean'])
def test_predictions_are_the_nearest_means(distance, tmp_path):
    path, _ = first_stage(tmp_path)
    runner = second_runner(tmp_path, dict(NCM, distance=distance), path, MEANS)
    runner.train()
    vectors, labels = features(tmp_path, path)
    means = numpy_means(vectors, labels)
    for vector, logits in zip(vectors.double().numpy(), runner.model.head((vectors,)), strict=True):
        if distance == 'cosine':
            expected = [m @ vector / np.linalg.norm(m) / np.linalg.norm(vector) for m in means]
        else:
            expected = [-np.linalg.norm(m - vector) for m in means]
        np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_class_without_images_is_never_predicted(tmp_path):
    path, _ = first_stage(tmp_path)
    runner = second_runner(tmp_path, dict(NCM, num_classes=CLASSES + 1), path, MEANS)
    warnings = []
    runner.logger.warning = warnings.append
    runner.train()
    assert f'Classes without images, which have no mean: {CLASSES}' in warnings
    logits = runner.model.head((torch.zeros(1, runner.model.head.in_channels),))
    assert torch.isneginf(logits[0, CLASSES])
    assert logits[0, :CLASSES].isfinite().all()


def mean_accuracy(vectors, labels, weight, tau):
    """In percent, by a loop."""
    right = [[] for _ in range(CLASSES)]
    for vector, label in zip(vectors.double(), labels, strict=True):
        logits = [row @ vector / row.norm() ** tau for row in weight.double()]
        right[label].append(int(np.argmax(logits)) == label)
    return 100 * np.mean([np.mean(of_class) for of_class in right])


def rows_that_tau_matters_to(vectors, labels):
    """The means of the classes, but long for the first class, which wins always without τ."""
    means = torch.from_numpy(numpy_means(vectors, labels))
    return means / means.norm(dim=1, keepdim=True) * torch.tensor([[9.0], [1.0], [0.5]])


def test_the_best_tau_by_mean_class_accuracy_is_kept(tmp_path):
    path, weights = first_stage(tmp_path)
    vectors, labels = features(tmp_path, path)
    weights['head.fc.weight'].copy_(rows_that_tau_matters_to(vectors, labels))
    torch.save(dict(state_dict=weights), path)
    runner = second_runner(tmp_path, TAU, path, SELECTION)
    lines = []
    runner.logger.info = lines.append
    runner.train()
    expected = {tau: mean_accuracy(vectors, labels, weights['head.fc.weight'], tau) for tau in (0.0, 0.5, 1.0)}
    said = ', '.join(f'{tau:g}: {value:.2f}' for tau, value in expected.items())
    assert f'Mean class accuracy (%) by tau on 11 images: {said}' in lines
    best = max(expected, key=expected.get)
    assert len(set(expected.values())) > 1
    saved = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert saved['head.tau'].item() == best


def tau_on_a_rank(rank, world_size, root, path):
    runner = second_runner(Path(root), TAU, path, SELECTION, launcher='pytorch', cfg=SEPARATE)
    lines = []
    runner.logger.info = lines.append
    runner.train()
    return float(runner.model.module.head.tau), [line for line in lines if 'by tau' in line]


def test_two_ranks_choose_by_all_images(two_ranks, tmp_path):
    path, _ = first_stage(tmp_path)
    alone = tau_on_a_rank_alone(tmp_path, path)
    assert two_ranks.run(tau_on_a_rank, str(tmp_path), path) == [alone, alone]


def tau_on_a_rank_alone(root, path):
    runner = second_runner(root, TAU, path, SELECTION)
    lines = []
    runner.logger.info = lines.append
    runner.train()
    return float(runner.model.head.tau), [line for line in lines if 'by tau' in line]


@pytest.mark.parametrize(
    ('sampler', 'message'),
    [
        (dict(type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'), 'may draw an item twice'),
        (dict(type='InfiniteSampler'), 'may draw an item twice'),
    ],
)
def test_a_sampler_that_repeats_images_is_refused(sampler, message, tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match=message):
        second_runner(tmp_path, NCM, path, MEANS, sampler).train()


def padded_on_a_rank(rank, world_size, root, path):
    sampler = dict(type='DefaultSampler', shuffle=False)
    runner = second_runner(Path(root), NCM, path, MEANS, sampler, launcher='pytorch', cfg=SEPARATE)
    with pytest.raises(ValueError, match='round_up=False'):
        runner.train()


def test_images_that_only_make_the_ranks_even_are_refused(two_ranks, tmp_path):
    path, _ = first_stage(tmp_path)
    images(tmp_path)
    two_ranks.run(padded_on_a_rank, str(tmp_path), path)


def test_a_loop_is_for_its_own_head(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match='ClassMeansLoop is for a NearestClassMeanHead, but the head is a TauNormHead'):
        second_runner(tmp_path, TAU, path, MEANS).train()


def test_a_loop_is_for_a_second_stage(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match=r'is for a SecondStageClassifier, but the model is a ImageClassifier'):
        second_runner(tmp_path, NCM, path, MEANS, model=network_config(LINEAR)).train()


def test_no_tau_and_a_negative_one_are_refused(tmp_path):
    path, _ = first_stage(tmp_path)
    for taus, message in (([], r'got taus=\[\]'), ([-0.5], 'got taus=-0.5')):
        with pytest.raises(ValueError, match=message):
            second_runner(tmp_path, TAU, path, dict(SELECTION, taus=taus)).train()


def test_a_loop_needs_features(tmp_path):
    with pytest.raises(ValueError, match=r'set model\.first_stage'):
        second_runner(tmp_path, NCM, None, MEANS).train()


def test_a_head_with_a_tau_has_none_chosen(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match=r'the head has tau=0\.5; leave it out'):
        second_runner(tmp_path, dict(TAU, tau=0.5), path, SELECTION).train()


def test_checkpoints_by_iteration_are_refused_because_there_would_be_none(tmp_path):
    path, _ = first_stage(tmp_path)
    hooks = dict(checkpoint=dict(type='mmrecall.AtomicCheckpointHook', by_epoch=False, interval=1))
    with pytest.raises(ValueError, match='AtomicCheckpointHook counts iterations'):
        second_runner(tmp_path, NCM, path, MEANS, default_hooks=hooks).train()


@pytest.mark.parametrize(('head', 'loop'), [(NCM, MEANS), (TAU, SELECTION)])
def test_an_averaged_model_has_what_the_pass_learned(head, loop, tmp_path):
    path, weights = first_stage(tmp_path)
    runner = second_runner(tmp_path, head, path, loop)
    runner.register_hook(EMAHook())
    runner.train()
    saved = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    for name, value in runner.model.state_dict().items():
        assert torch.equal(saved[name], value)
    assert torch.equal(saved['backbone.conv1.weight'], weights['backbone.conv1.weight'])


def test_features_that_are_not_finite_are_named(tmp_path):
    path, weights = first_stage(tmp_path)
    weights['backbone.conv1.weight'][0] = torch.nan
    torch.save(dict(state_dict=weights), path)
    with pytest.raises(ValueError, match='features are not finite'):
        second_runner(tmp_path, NCM, path, MEANS).train()


def wrong_label_on_a_rank(rank, world_size, root, path):
    runner = second_runner(Path(root), dict(NCM, num_classes=2), path, MEANS, launcher='pytorch', cfg=SEPARATE)
    with pytest.raises(ValueError, match='an image has the label 2, but the head has classes 0 to 1'):
        runner.train()


def test_a_label_that_is_no_class_raises_on_all_ranks(two_ranks, tmp_path):
    path, _ = first_stage(tmp_path)
    images(tmp_path)
    two_ranks.run(wrong_label_on_a_rank, str(tmp_path), path)


def test_euclidean_distances_keep_their_digits_far_from_zero():
    vectors = torch.randn(2000, 16) + 1000
    means = torch.randn(50, 16) + 1000
    head = NearestClassMeanHead(50, 16, distance='euclidean')
    head.set_means(means, torch.ones(50, dtype=torch.long))
    expected = torch.linalg.vector_norm(vectors.double()[:, None] - means.double(), dim=2).argmin(dim=1)
    assert (head((vectors,)).argmax(dim=1) == expected).float().mean() > 0.999
