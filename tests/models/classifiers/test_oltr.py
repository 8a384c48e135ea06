"""OLTR from its first stage on: the memory at its beginning, attention, freezing, resuming."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.hooks import EMAHook, Hook
from mmengine.registry import MODELS
from sdn_network import CHANNELS, CLASSES, samples
from sdn_network import images as random_images
from second_stages import ONCE, build_second, features, first_stage, loader_config, second_config, second_runner

from mmrecall.models.classifiers.oltr import ModulatedAttention

BALANCED = dict(type='mmrecall.ClassProbabilitySampler', strategy='class_balanced')


def config(path, **options):
    head = dict(type='mmrecall.OLTRHead')
    # a map of one place: 32x32 images, a stride of 32
    return {**second_config(head, path), 'type': 'mmrecall.OLTR', 'feature_size': 1, **options}


def build(path, **options):
    model = MODELS.build({**config(path, **options), '_scope_': 'mmpretrain'})
    model.init_weights()
    return model


def memory_hook(root, sampler=ONCE):
    return dict(type='mmrecall.ClassMemoryHook', dataloader=loader_config(root, sampler))


def runner(root, path, hooks=None, **options):
    model = config(path, **options.pop('model', {}))
    hooks = [memory_hook(root)] if hooks is None else hooks
    return second_runner(
        root, None, path, sampler=options.pop('sampler', BALANCED), hooks=hooks, model=model, **options
    )


class Beginning(Hook):
    """Keeps the weights that a training begins with."""

    priority = 'LOWEST'

    def before_train(self, runner):
        model = getattr(runner.model, 'module', runner.model)
        self.weights = copy.deepcopy(model.state_dict())


def begin_and_train(runner):
    """Weights before the first iteration."""
    beginning = Beginning()
    runner.register_hook(beginning)
    runner.train()
    return beginning.weights


def centroids(root, path):
    """Class means of the first stage's features by a loop."""
    vectors, labels = features(root, path)
    vectors, labels = vectors.double().numpy(), np.array(labels)
    return np.stack([vectors[labels == c].mean(0) for c in range(CLASSES)])


def test_the_memory_begins_with_the_class_centroids_of_stage_one(tmp_path):
    path, _ = first_stage(tmp_path)
    one = runner(tmp_path, path)
    beginning = begin_and_train(one)
    np.testing.assert_allclose(beginning['head.memory'].numpy(), centroids(tmp_path, path), rtol=1e-5, atol=1e-6)
    assert beginning['head.counts'].tolist() == [5, 4, 2]
    # and is trained then
    assert not torch.equal(one.model.head.memory, beginning['head.memory'])
    saved = torch.load(tmp_path / 'work' / 'epoch_3.pth', weights_only=False)['state_dict']
    assert torch.equal(saved['head.memory'], one.model.head.memory)


def memory_on_a_rank(rank, world_size, root, path):
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    one = runner(Path(root), path, launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    beginning = begin_and_train(one)
    trained = {name: value.double().sum().item() for name, value in one.model.module.named_parameters()}
    return beginning['head.memory'].tolist(), beginning['head.counts'].tolist(), trained


def test_two_ranks_begin_with_the_centroids_of_all_images_and_stay_in_step(two_ranks, tmp_path):
    path, _ = first_stage(tmp_path)
    expected = centroids(tmp_path, path)
    first, second = two_ranks.run(memory_on_a_rank, str(tmp_path), path)
    assert first == second
    # 11 images: no image counts twice to make the ranks even
    assert first[1] == [5, 4, 2]
    np.testing.assert_allclose(first[0], expected, rtol=1e-5, atol=1e-6)


def test_the_hallucinator_begins_as_the_classifier_of_stage_one(tmp_path):
    path, weights = first_stage(tmp_path)
    head = build(path).head
    assert torch.equal(head.hallucinator.weight, weights['head.fc.weight'])
    assert torch.equal(head.hallucinator.bias, weights['head.fc.bias'])


@pytest.mark.parametrize('frozen', [True, False])
def test_a_frozen_backbone_stays_to_the_last_bit_and_another_one_trains_on(frozen, tmp_path):
    path, weights = first_stage(tmp_path)
    one = runner(tmp_path, path, model=dict(frozen=frozen))
    one.train()
    found = one.model.state_dict()
    backbone = [name for name in weights if name.startswith('backbone.') and weights[name].is_floating_point()]
    unchanged = [name for name in backbone if torch.equal(found[name], weights[name])]
    assert unchanged == (backbone if frozen else [])
    assert found['attention.self_attention.conv_out.conv.weight'].any()


def test_the_attention_has_no_effect_at_first(tmp_path):
    path, _ = first_stage(tmp_path)
    model = build(path).eval()
    x = random_images()
    expected = model.neck(model.backbone(x))[-1]
    assert torch.equal(model.extract_feat(x)[-1], expected)
    assert torch.equal(model.extract_feat(x, 'pre_logits'), expected)
    assert torch.equal(model.extract_feat(x, 'backbone')[-1], model.backbone(x)[-1])


def softmax(values):
    return np.exp(values) / np.exp(values).sum()


def test_attention_is_that_of_a_loop():
    attention = ModulatedAttention(in_channels=4, size=(2, 3)).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    weights = {name: value.numpy() for name, value in attention.state_dict().items()}

    def convolved(name, columns):
        return weights[f'self_attention.{name}.conv.weight'][:, :, 0, 0] @ columns + weights[
            f'self_attention.{name}.conv.bias'
        ].reshape(-1, 1)

    for image, found in zip(x.numpy(), attention(x).detach().numpy(), strict=True):
        columns = image.reshape(4, 6)
        theta, phi, g = (convolved(name, columns) for name in ('theta', 'phi', 'g'))
        looked_at = np.stack([g @ softmax(theta[:, place] @ phi) for place in range(6)], 1)
        places = softmax(weights['places.weight'] @ image.reshape(-1) + weights['places.bias'])
        expected = columns + places * convolved('conv_out', looked_at)
        np.testing.assert_allclose(found.reshape(4, 6), expected, rtol=1e-9)


def test_images_of_another_size_are_refused(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match=r'\(64, 2, 2\) .* built for \(64, 1, 1\); set model.feature_size'):
        build(path).extract_feat(torch.zeros(1, 3, 64, 64))


class Killed(Exception):
    """Instead of a signal."""


class Kill(Hook):
    """In the second epoch."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3:
            raise Killed


def test_killed_and_resumed_is_never_killed(tmp_path):
    path, _ = first_stage(tmp_path)
    torch.manual_seed(5)
    whole = runner(tmp_path, path)
    whole.train()
    (tmp_path / 'work').rename(tmp_path / 'whole')

    torch.manual_seed(5)
    with pytest.raises(Killed):
        runner(tmp_path, path, [memory_hook(tmp_path), dict(type=Kill)]).train()
    torch.manual_seed(6)
    resumed = runner(tmp_path, path, resume=True)
    saved = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    beginning = begin_and_train(resumed)
    assert torch.equal(beginning['head.memory'], saved['head.memory'])
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_an_averaged_model_begins_with_the_memory_too(tmp_path):
    path, _ = first_stage(tmp_path)
    average = EMAHook()
    one = runner(tmp_path, path, [memory_hook(tmp_path), average])
    memories = []
    average.before_train = lambda runner: memories.append(average.ema_model.module.head.memory.detach().clone())
    one.train()
    np.testing.assert_allclose(memories[0], centroids(tmp_path, path), rtol=1e-5, atol=1e-6)
    assert average.ema_model.module.head.is_filled


def test_a_training_without_the_hook_says_what_to_add(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match='the memory is not filled yet; add the ClassMemoryHook'):
        runner(tmp_path, path, []).train()


def test_the_hook_refuses_a_sampler_that_repeats(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match=r'may draw an item twice or not at all; set dataloader\.sampler'):
        runner(tmp_path, path, [memory_hook(tmp_path, BALANCED)]).train()


def test_the_hook_refuses_another_head(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match='is for an OLTRHead, but the head is a LinearClsHead'):
        second_runner(tmp_path, dict(type='LinearClsHead'), path, hooks=[memory_hook(tmp_path)]).train()


def test_the_hook_refuses_a_model_without_attention(tmp_path):
    path, _ = first_stage(tmp_path)
    plain = config(path, type='mmrecall.SecondStageClassifier')
    del plain['feature_size']
    one = second_runner(tmp_path, None, path, hooks=[memory_hook(tmp_path)], model=plain)
    with pytest.raises(ValueError, match=r"SecondStageClassifier with an OLTRHead; set model\.type='mmrecall\.OLTR'"):
        one.train()


def test_a_memory_of_another_number_of_images_than_training_is_warned_of(tmp_path):
    path, _ = first_stage(tmp_path)
    loader = loader_config(tmp_path)
    loader['dataset']['indices'] = [0, 1, 5, 9]
    one = runner(tmp_path, path, [dict(type='mmrecall.ClassMemoryHook', dataloader=loader)])
    warnings = []
    one.logger.warning = warnings.append
    one.train()
    assert any('the dataloader has 4 images, train_dataloader has 11' in line for line in warnings)


@pytest.mark.parametrize(
    'head', [dict(type='LinearClsHead'), dict(type='mmrecall.LWSHead'), dict(type='mmrecall.OLTRHead')]
)
def test_a_checkpoint_of_oltr_is_no_first_stage(head, tmp_path):
    path, _ = first_stage(tmp_path)
    torch.save(dict(state_dict=build(path).state_dict()), path)
    with pytest.raises(ValueError, match='is of OLTR, whose features have an attention'):
        build_second(head, path)


def test_a_trained_checkpoint_predicts_without_its_first_stage(tmp_path):
    path, _ = first_stage(tmp_path)
    one = runner(tmp_path, path, model=dict(frozen=True))
    one.train()
    Path(path).unlink()
    model = MODELS.build({**config(path), '_scope_': 'mmpretrain'})
    model.load_state_dict(torch.load(tmp_path / 'work' / 'epoch_3.pth', weights_only=False)['state_dict'])
    x = random_images()
    found = model.eval()(x, samples(), mode='predict')
    expected = one.model.eval()(x, samples(), mode='predict')
    for first, second in zip(found, expected, strict=True):
        assert torch.equal(first.pred_score, second.pred_score)
        assert first.pred_score.shape == (CLASSES,)
    assert model.head.memory.shape == (CLASSES, CHANNELS)
