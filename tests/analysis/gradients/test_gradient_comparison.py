import pytest
import synthetic_data
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn

from mmrecall.analysis.gradients.head_losses import choose_head_losses

CLASSES = 3
MODEL = f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes={CLASSES}, in_channels=64, loss=LOSS),
)
"""
DATA = """
data_preprocessor = dict(num_classes=3, mean=[127.5] * 3, std=[63.75] * 3)
loader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        type='CustomDataset',
        data_root='ROOT',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
train_dataloader = loader
val_dataloader = loader
"""
CROSS_ENTROPY = "dict(type='CrossEntropyLoss')"
RUNNING_RECALL = "dict(type='mmrecall.RecallLoss', alpha=0.5, num_classes=3)"
BALANCED = "dict(type='mmrecall.BalancedSoftmaxLoss', class_counts='auto', num_classes=3)"


def config_of(root, name, loss, more=''):
    path = root / f'{name}.py'
    path.write_text(MODEL.replace('LOSS', loss) + DATA.replace('ROOT', str(root / 'images')) + more)
    return Config.fromfile(path)


@pytest.fixture
def trained(tmp_path):
    """A config, and a checkpoint of it."""
    pytest.importorskip('mmpretrain')
    from mmrecall.analysis.build_model import build_model

    synthetic_data.image_folder(tmp_path / 'images')
    # the class counts are 4, 4 and 2
    for number in (2, 3):
        (tmp_path / 'images' / '2' / f'{number}.png').unlink()
    config = config_of(tmp_path, 'net-ce-1k', CROSS_ENTROPY)
    model = build_model(config)
    torch.save(model.state_dict(), tmp_path / 'net.pth')
    return config, tmp_path / 'net.pth'


def comparison(*arguments, **options):
    from mmrecall.analysis.gradients.comparison import GradientComparison

    return GradientComparison(*arguments, **options)


def logits_and_labels(config, checkpoint, batches):
    """Of the first batches, by the model itself."""
    from mmengine.runner import Runner

    from mmrecall.analysis.build_model import build_model

    model = build_model(config).eval()
    model.load_state_dict(torch.load(checkpoint))
    for data, _ in zip(Runner.build_dataloader(config.val_dataloader), range(batches), strict=False):
        data = model.data_preprocessor(data)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        yield model(data['inputs']).detach(), labels


def gradients_by_a_loop(loss, logits, labels):
    leaf = logits.clone().requires_grad_()
    loss(leaf, labels).backward()
    positive, negative = [0.0] * CLASSES, [0.0] * CLASSES
    for row, label in zip(leaf.grad.tolist(), labels.tolist(), strict=True):
        for k, slope in enumerate(row):
            if k == label:
                positive[k] -= slope
            else:
                negative[k] += slope
    return positive, negative


def test_the_gradients_are_those_at_the_models_logits_and_counts_are_those_of_the_training_set(trained, tmp_path):
    config, checkpoint = trained
    balanced = config_of(tmp_path, 'net-balanced-softmax-1k', BALANCED)
    found = comparison(config, checkpoint, [balanced], split='val').measure(2)
    prior = torch.tensor([4, 4, 2]).log()
    losses = {'ce': F.cross_entropy, 'balanced-softmax': lambda x, y: F.cross_entropy(x + prior, y)}
    assert list(found.gradients) == list(losses)
    batches = list(logits_and_labels(config, checkpoint, 2))
    for name, loss in losses.items():
        by_batch = [gradients_by_a_loop(loss, *batch) for batch in batches]
        for term, both in zip(found.gradients[name], zip(*by_batch, strict=True), strict=True):
            expected = [sum(values) / 2 for values in zip(*both, strict=True)]
            assert term.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert found.statistics.support.tolist() == [4, 4, 0]
    assert found.classes == ['0', '1', '2']
    assert found.unit == 'images'


def test_in_training_data_the_model_normalises_by_the_batch(trained):
    config, checkpoint = trained
    by_split = [
        comparison(config, checkpoint, split=split).measure().gradients['net-ce-1k'] for split in ('train', 'val')
    ]
    assert not torch.allclose(by_split[0].positive, by_split[1].positive)


def test_one_losss_step_does_not_move_anothers_state(trained, tmp_path):
    config, checkpoint = trained
    running = config_of(tmp_path, 'net-recall-1k', RUNNING_RECALL)
    alone = comparison(running, checkpoint, split='val').measure().gradients['net-recall-1k']
    second = comparison(config, checkpoint, [running], split='val').measure().gradients['recall']
    torch.testing.assert_close(alone.positive, second.positive)


def test_a_running_recall_is_the_checkpoints_or_named_as_fresh(trained, tmp_path):
    config, checkpoint = trained
    running = config_of(tmp_path, 'net-recall-1k', RUNNING_RECALL)
    fresh = comparison(config, checkpoint, [running], split='val')
    assert fresh.fresh == {'ce': [], 'recall': ['head.loss_module.recall']}
    state = torch.load(checkpoint)
    state['head.loss_module.recall'] = torch.ones(CLASSES)
    torch.save(state, checkpoint)
    kept = comparison(config, checkpoint, [running], split='val')
    assert kept.fresh == {'ce': [], 'recall': []}
    # weights 1 - R / 2 before, and 1 / 2 - R / 2 after, in the class that the first batch has
    ratio = kept.measure().gradients['recall'].positive[0] / fresh.measure().gradients['recall'].positive[0]
    assert ratio < 0.51


@pytest.mark.parametrize(
    ('more', 'options', 'message'),
    [
        ('', dict(split='test'), 'has no test_dataloader'),
        ('', dict(head='decode_head'), 'got --head decode_head; expected a head with a loss, such as head'),
        ('model.head.num_classes = 4', {}, 'does not fit'),
        ('model.backbone.depth = 34', {}, 'are in only one of them, such as'),
        ("model.head.loss = dict(type='mmrecall.RecallLoss', num_classes=5)", {}, '5 classes'),
    ],
)
def test_what_cannot_be_measured_is_said(more, options, message, trained, tmp_path):
    _, checkpoint = trained
    name, _, value = more.partition(' = ')
    config = config_of(tmp_path, 'net', CROSS_ENTROPY)
    if name:
        config.merge_from_dict({name: eval(value)})
    with pytest.raises(ValueError, match=message):
        comparison(config, checkpoint, **options).measure()


def test_too_many_batches_and_the_same_config_twice_are_said(trained):
    config, checkpoint = trained
    with pytest.raises(ValueError, match='have 3 batches; set --batches 3'):
        comparison(config, checkpoint, split='val').measure(4)
    with pytest.raises(ValueError, match='two configs of the same name'):
        comparison(config, checkpoint, [config])


def test_a_config_of_the_other_toolbox_is_named(trained, tmp_path):
    config, checkpoint = trained
    other = config_of(tmp_path, 'other', CROSS_ENTROPY, "default_scope = 'mmseg'")
    with pytest.raises(ValueError, match=r'got .*other\.py of mmseg; expected a config of mmpretrain'):
        comparison(config, checkpoint, [other])


def test_mixed_images_belong_to_no_class(trained, tmp_path):
    _, checkpoint = trained
    mixed = config_of(
        tmp_path, 'mixed', CROSS_ENTROPY, "model.update(train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)))\n"
    )
    with pytest.raises(TypeError, match='soft labels'):
        comparison(mixed, checkpoint).measure()


def model_with(**heads):
    model = nn.Module()
    for name, loss in heads.items():
        head = nn.Module()
        head.loss_decode = loss
        model.add_module(name, head)
    return model


def test_the_losses_are_those_of_the_head_that_is_asked_for_else_of_the_only_one_else_of_the_decode_head():
    both = nn.ModuleList([nn.CrossEntropyLoss(), nn.MSELoss()])
    model = model_with(auxiliary_head=nn.CrossEntropyLoss(), decode_head=both)
    found = choose_head_losses(model, 'a.py')
    assert found.losses == {'decode_head.loss_decode.0': both[0], 'decode_head.loss_decode.1': both[1]}
    assert choose_head_losses(model, 'a.py', 'auxiliary_head').head == 'auxiliary_head'
    assert choose_head_losses(model_with(head=both), 'a.py', 'auxiliary_head').head == 'head'


def test_several_heads_no_head_and_a_sampler_are_refused():
    two = model_with(first=nn.CrossEntropyLoss(), second=nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match=r'no --head for a\.py, .* several heads with a loss; .* one of first, second'):
        choose_head_losses(two, 'a.py')
    with pytest.raises(ValueError, match=r'got --head third for a\.py'):
        choose_head_losses(two, 'a.py', 'third')
    with pytest.raises(ValueError, match=r'no head of the model of a\.py has a loss'):
        choose_head_losses(nn.Linear(1, 1), 'a.py')
    sampling = model_with(decode_head=nn.CrossEntropyLoss())
    sampling.decode_head.sampler = object()
    with pytest.raises(ValueError, match='has a sampler of pixels'):
        choose_head_losses(sampling, 'a.py')
