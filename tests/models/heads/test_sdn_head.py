"""The decoupled head: what each part learns from, and what predicts."""

import copy
import io

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmpretrain.models.heads import LinearClsHead, MultiLabelLinearClsHead, StackedLinearClsHead
from sdn_network import CHANNELS, CLASSES, LABELS, build, images, network, network_config, samples

from mmrecall.losses import RecallLoss, WeightedCrossEntropyLoss
from mmrecall.models.heads import CosineClsHead, SDNHead

CE = dict(type='CrossEntropyLoss')
AUTO = dict(class_counts='auto', num_classes=CLASSES)
BACKBONE, FEATURE, CLASSIFIER = 'backbone.', 'head.feature_head.', 'head.classifier_head.'


def gradients(model, *names, inputs=None):
    """Of the sum of the named losses, by parameter; None where nothing arrived."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    losses = model(images() if inputs is None else inputs, samples(), mode='loss')
    sum(losses[name] for name in names).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def of(found, part):
    return [gradient for name, gradient in found.items() if name.startswith(part)]


def test_the_classifiers_loss_trains_the_classifier_head_alone():
    found = gradients(network(), 'loss_classifier')
    assert of(found, BACKBONE)
    assert all(gradient is None for gradient in of(found, BACKBONE) + of(found, FEATURE))
    assert all(gradient.abs().sum() > 0 for gradient in of(found, CLASSIFIER))


def test_the_feature_loss_trains_everything_else():
    found = gradients(network(), 'loss_feature')
    assert all(gradient is None for gradient in of(found, CLASSIFIER))
    assert all(gradient.abs().sum() > 0 for gradient in of(found, BACKBONE) + of(found, FEATURE))


def test_the_sum_trains_all_and_each_part_as_if_the_other_were_not_there():
    # the running recall moves with every forward
    model = network()
    both = gradients(copy.deepcopy(model), 'loss_feature', 'loss_classifier')
    feature = gradients(copy.deepcopy(model), 'loss_feature')
    classifier = gradients(copy.deepcopy(model), 'loss_classifier')
    for name, gradient in both.items():
        alone = classifier[name] if name.startswith(CLASSIFIER) else feature[name]
        assert gradient.abs().sum() > 0
        assert torch.equal(gradient, alone)


def test_the_default_losses_are_the_papers():
    head = network().head
    assert isinstance(head.feature_head.loss_module, RecallLoss)
    assert head.feature_head.loss_module.alpha == 0.9
    assert isinstance(head.classifier_head.loss_module, WeightedCrossEntropyLoss)
    assert head.classifier_head.loss_module.class_weight == 'effective_number'
    assert SDNHead(CLASSES, CHANNELS, alpha=0.001).feature_head.loss_module.alpha == 0.001


def test_every_loss_is_added_once_and_both_accuracies_are_logged():
    part = dict(cal_acc=True, topk=(1, 2))
    model = network(dict(feature_head=part, classifier_head=part))
    losses = model(images(), samples(), mode='loss')
    total, logged = model.parse_losses(losses)
    assert list(losses) == [
        'loss_feature', 'accuracy_top-1_feature', 'accuracy_top-2_feature',
        'loss_classifier', 'accuracy_top-1_classifier', 'accuracy_top-2_classifier',
    ]  # fmt: skip
    torch.testing.assert_close(total, losses['loss_feature'] + losses['loss_classifier'])
    assert set(logged) == {'loss', *losses}


def test_accuracies_are_those_of_each_part():
    head = SDNHead(2, 2, dict(cal_acc=True), dict(cal_acc=True, loss=CE))
    with torch.no_grad():
        for part, sign in ((head.feature_head, 1), (head.classifier_head, -1)):
            part.fc.weight.copy_(sign * torch.eye(2))
            part.fc.bias.zero_()
    losses = head.loss((torch.eye(2),), samples([0, 1]))
    assert float(losses['accuracy_top-1_feature'][0]) == 100
    assert float(losses['accuracy_top-1_classifier'][0]) == 0


def test_prediction_is_that_of_a_stock_classifier_with_the_classifier_heads_weights():
    model = network().eval()
    stock = build(network_config(dict(type='LinearClsHead'))).eval()
    weights = {name.replace(CLASSIFIER, 'head.'): value for name, value in model.state_dict().items()}
    stock.load_state_dict({name: weights[name] for name in stock.state_dict()})
    inputs = images()
    for ours, theirs in zip(model(inputs, mode='predict'), stock(inputs, mode='predict'), strict=True):
        assert torch.equal(ours.pred_score, theirs.pred_score)
        assert torch.equal(ours.pred_label, theirs.pred_label)
    assert torch.equal(model(inputs), stock(inputs))
    assert torch.equal(model.extract_feat(inputs, 'pre_logits'), stock.extract_feat(inputs, 'pre_logits'))


def test_predictions_fill_the_given_samples():
    given = samples([2, 2])
    predicted = network().eval()(images(2), given, mode='predict')
    assert [sample.gt_label.tolist() for sample in predicted] == [[2], [2]]
    assert predicted[0].pred_score.shape == (CLASSES,)


def test_an_untrained_network_predicts_without_class_counts():
    head = SDNHead(CLASSES, CHANNELS)
    assert len(head.predict((torch.randn(2, CHANNELS),))) == 2
    with pytest.raises(ValueError, match='has not been counted'):
        head.loss((torch.randn(2, CHANNELS),), samples([0, 1]))


@pytest.mark.parametrize(
    'base', ['', "feature_head=dict(loss=dict(type='mmrecall.RecallLoss', alpha=0.9)), alpha=0.01"]
)
def test_sdn_ce_is_one_line_in_a_config(base, tmp_path):
    (tmp_path / 'base.py').write_text(
        f"head = dict(type='mmrecall.SDNHead', num_classes={CLASSES}, in_channels={CHANNELS}, {base})\n"
    )
    (tmp_path / 'sdn_ce.py').write_text(
        "_base_ = 'base.py'\nhead = dict(feature_head=dict(loss=dict(type='CrossEntropyLoss', _delete_=True)))\n"
    )
    model = network(Config.fromfile(tmp_path / 'sdn_ce.py').head)
    features = torch.randn(4, CHANNELS)
    found = model.head.loss((features,), samples())['loss_feature']
    torch.testing.assert_close(found, F.cross_entropy(model.head.feature_head.fc(features), torch.tensor(LABELS)))


@pytest.mark.parametrize(
    ('part', 'cls'),
    [
        (dict(type='StackedLinearClsHead', mid_channels=[5], loss=CE), StackedLinearClsHead),
        (dict(type='MultiLabelLinearClsHead', loss=dict(type='CrossEntropyLoss', use_sigmoid=True)),
         MultiLabelLinearClsHead),
        (dict(type='mmrecall.CosineClsHead', loss=dict(type='mmrecall.LDAMLoss', scale=30.0, **AUTO)), CosineClsHead),
        (dict(loss=dict(type='SeesawLoss', num_classes=CLASSES)), LinearClsHead),
        (dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)), LinearClsHead),
        (dict(loss=dict(type='BalancedSoftmaxLoss', **AUTO)), LinearClsHead),
    ],
)  # fmt: skip
@pytest.mark.parametrize('place', ['feature_head', 'classifier_head'])
def test_any_linear_head_and_any_loss_can_be_either_part(part, cls, place):
    model = network({place: part})
    assert type(getattr(model.head, place)) is cls
    losses = model(images(), samples(), mode='loss')
    sum(losses.values()).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient.abs().sum() > 0 for gradient in of(found, BACKBONE) + of(found, f'head.{place}.'))


def test_lists_of_tokens_are_detached_too():
    loss = dict(loss=CE)
    head = SDNHead(CLASSES, CHANNELS, dict(type='DeiTClsHead', **loss), dict(type='DeiTClsHead', **loss)).eval()
    tokens = [torch.randn(4, CHANNELS, requires_grad=True) for _ in range(2)]
    losses = head.loss((tokens,), samples())
    losses['loss_classifier'].backward()
    assert [token.grad for token in tokens] == [None, None]
    losses['loss_feature'].backward()
    assert all(token.grad.abs().sum() > 0 for token in tokens)


def test_features_that_cannot_be_detached_are_refused():
    with pytest.raises(TypeError, match='features of type dict'):
        SDNHead(CLASSES, CHANNELS, dict(loss=CE), dict(loss=CE)).loss({-1: torch.randn(4, CHANNELS)}, samples())


def predicting(alpha):
    """A head whose feature part predicts the class that a one-hot feature names."""
    head = SDNHead(CLASSES, CLASSES, alpha=alpha, classifier_head=dict(loss=CE))
    with torch.no_grad():
        head.feature_head.fc.weight.copy_(torch.eye(CLASSES))
        head.feature_head.fc.bias.zero_()
    return head


def step(head, labels, predictions):
    head.loss((torch.eye(CLASSES)[list(predictions)],), samples(labels))


@pytest.mark.parametrize('alpha', [0.9, 0.001])
def test_the_running_recall_of_a_stream_is_the_hand_computed_one_and_survives_a_checkpoint(alpha):
    head = predicting(alpha)
    # class 0: one of two in every step; class 1: in the steps 0 and 150 alone, both right; class 2: never
    for number in range(100):
        step(head, [0, 0, 1], [0, 2, 1]) if number == 0 else step(head, [0, 0], [0, 2])
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    head = predicting(alpha)
    head.load_state_dict(torch.load(file, weights_only=True))
    for number in range(100, 200):
        step(head, [0, 0, 1], [0, 2, 1]) if number == 150 else step(head, [0, 0], [0, 2])
    expected = [0.5 * (1 - (1 - alpha) ** 200), 1 - (1 - alpha) ** 2, 0.0]
    assert head.feature_head.loss_module.recall.tolist() == pytest.approx(expected, rel=1e-5)


def test_mixups_soft_labels_train_both_parts():
    model = network(
        train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)),
        data_preprocessor=dict(mean=[0.0] * 3, std=[255.0] * 3, num_classes=CLASSES),
    )
    raw = dict(inputs=list(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)), data_samples=samples())
    data = model.data_preprocessor(raw, training=True)
    soft = torch.stack([sample.gt_score for sample in data['data_samples']])
    assert ((soft > 0) & (soft < 1)).any()
    with torch.no_grad():  # batch norm's running means are the only thing that moves
        features = model.extract_feat(data['inputs'])[-1]
    losses = model(**data, mode='loss')
    weighted = copy.deepcopy(model.head.classifier_head.loss_module)
    expected = weighted(model.head((features,)), soft)
    torch.testing.assert_close(losses['loss_classifier'], expected)
    logits = model.head.feature_head((features,))
    fresh = RecallLoss(alpha=0.9, num_classes=CLASSES)
    torch.testing.assert_close(losses['loss_feature'], fresh(logits, soft))
    sum(losses.values()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize('frozen', [1, 4])
def test_frozen_stages_stay_and_the_rest_learns(frozen):
    model = network(backbone=dict(frozen_stages=frozen)).train()
    found = gradients(model, 'loss_feature', 'loss_classifier')
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, gradient in found.items() if gradient is not None} == learning
    assert any(name.startswith(BACKBONE) for name in learning) == (frozen < 4)
    assert all(found[name].abs().sum() > 0 for name in learning)


@pytest.mark.parametrize('name', ['num_classes', 'in_channels'])
def test_a_part_for_another_number_of_classes_or_channels_is_refused(name):
    with pytest.raises(ValueError, match=rf'got {name}=5 in .*, but {name}=4 in SDNHead'):
        SDNHead(num_classes=4, in_channels=4, feature_head={name: 5})
