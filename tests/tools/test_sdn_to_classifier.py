"""A trained decoupled network becomes a classifier that needs no mmrecall."""

import json
import os

import pytest
import synthetic_data
import torch
from commands import run

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmpretrain import ImageClassificationInferencer, get_model

from mmrecall.models.converters.sdn_to_classifier import sdn_to_classifier

TOOL = 'tools/model_converters/sdn_to_classifier.py'
CONFIG = """
custom_imports = dict(imports=['mmrecall', 'mmpretrain.models'], allow_failed_imports=False)
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 60.0, 60.0], to_rgb=True, num_classes=3)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='SDNHead', num_classes=3, in_channels=64, alpha=0.5),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)))
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=6, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root='images', pipeline=pipeline))
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.5))
custom_hooks = [dict(type='EMAHook', momentum=0.5)]
test_dataloader = dict(batch_size=6, num_workers=0, dataset=dict(type='mmrecall.NoSuchDataset', pipeline=pipeline))
log_level = 'WARNING'
"""
# what a user without mmrecall does; the scores of every image go to a file
PREDICT = """
import json, sys
sys.modules['mmrecall'] = None
from mmpretrain import ImageClassificationInferencer
config, checkpoint, out, *images = sys.argv[1:]
results = ImageClassificationInferencer(config, pretrained=checkpoint)(images)
found = [(result['pred_class'], result['pred_scores'].tolist()) for result in results]
assert not [name for name, module in sys.modules.items() if name.startswith('mmrecall') and module is not None]
json.dump(found, open(out, 'w'))
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Folder of a training with an averaged model, as the stock tool leaves it."""
    root = tmp_path_factory.mktemp('sdn')
    synthetic_data.image_folder(root / 'images', classes=3)
    config = Config.fromstring(CONFIG, '.py')
    config.train_dataloader.dataset.data_root = str(root / 'images')
    config.work_dir = str(root)
    # only training is set up
    test_dataloader = config.pop('test_dataloader')
    config.experiment_name = root.name
    before = dict(DefaultScope._instance_dict)
    runner = Runner.from_cfg(config)
    runner.cfg.test_dataloader = test_dataloader
    runner.train()
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
    return root


def load(path):
    return torch.load(path, map_location='cpu', weights_only=False)


def made_checkpoint(root, text=CONFIG, **changes):
    """A checkpoint of an untrained network; changes are of what it holds."""
    config = Config.fromstring(text, '.py')
    model = MODELS.build({**config.model, '_scope_': 'mmpretrain'})
    path = root / 'network.pth'
    torch.save({**dict(meta=dict(cfg=config.pretty_text), state_dict=model.state_dict()), **changes}, path)
    return str(path)


def test_without_mmrecall_the_exported_classifier_gives_the_same_scores(trained, repository, tmp_path):
    checkpoint, out = trained / 'epoch_1.pth', tmp_path / 'new' / 'classifier.pth'
    status, output = run('python', repository / TOOL, checkpoint, out)
    assert status == 0, output
    assert f'Checkpoint: {out}\nConfig: {out.with_suffix(".py")}\n' in output
    assert sorted(path.name for path in out.parent.iterdir()) == ['classifier.pth', 'classifier.py']

    images = [str(path) for path in sorted((trained / 'images').rglob('*.png'))]
    network = Config.fromstring(load(checkpoint)['meta']['cfg'], '.py')
    expected = ImageClassificationInferencer(network, pretrained=str(checkpoint))(images)
    scores = tmp_path / 'scores.json'
    status, output = run('python', '-c', PREDICT, out.with_suffix('.py'), out, scores, *images)
    assert status == 0, output
    assert json.loads(scores.read_text()) == [
        [result['pred_class'], result['pred_scores'].tolist()] for result in expected
    ]
    assert len({result['pred_scores'].tobytes() for result in expected}) == len(images) == 12


def test_it_holds_the_averaged_weights_and_nothing_of_training(trained, tmp_path):
    saved = load(trained / 'epoch_1.pth')
    sdn_to_classifier(str(trained / 'epoch_1.pth'), tmp_path / 'out.pth')
    exported = torch.load(tmp_path / 'out.pth', weights_only=True)
    weights = exported['state_dict']
    stock = {name for name in saved['state_dict'] if name.startswith('backbone.')} | {'head.fc.weight', 'head.fc.bias'}
    assert set(weights) == stock
    assert torch.equal(weights['head.fc.weight'], saved['state_dict']['head.classifier_head.fc.weight'])
    assert not torch.equal(weights['head.fc.weight'], saved['ema_state_dict']['module.head.classifier_head.fc.weight'])
    # modules convert weights of older versions by this
    assert weights._metadata['backbone.bn1'] == {'version': 2}
    assert set(exported) == {'meta', 'state_dict'}
    assert exported['meta']['dataset_meta'] == dict(classes=['0', '1', '2'])


def test_the_config_keeps_what_prediction_needs(trained, tmp_path):
    written = sdn_to_classifier(str(trained / 'epoch_1.pth'), tmp_path / 'out.pth')
    assert written.has_pipeline
    config = Config.fromfile(written.config)
    assert set(config) == {'default_scope', 'model', 'custom_imports', 'test_dataloader'}
    assert config.model.head == dict(type='LinearClsHead', num_classes=3, in_channels=64)
    assert config.model.data_preprocessor.num_classes == 3
    assert 'train_cfg' not in config.model
    assert config.custom_imports.imports == ['mmpretrain.models']
    assert [transform.type for transform in config.test_dataloader.dataset.pipeline] == [
        'LoadImageFromFile', 'Resize', 'PackInputs',
    ]  # fmt: skip
    assert 'mmrecall' not in written.config.read_text()
    assert torch.load(written.checkpoint)['meta']['cfg'] == written.config.read_text()


def test_a_pipeline_with_a_foreign_transform_is_left_out_and_the_tool_says_so(repository, tmp_path):
    nested = "dict(type='RandomApply', transforms=[dict(type='mmrecall.NoSuchTransform')])"
    checkpoint = made_checkpoint(tmp_path, CONFIG.replace("dict(type='Resize', scale=32)", nested))
    status, output = run('python', repository / TOOL, checkpoint, tmp_path / 'out.pth')
    assert status == 0, output
    assert 'The config has no test pipeline' in output
    assert 'test_dataloader' not in Config.fromfile(tmp_path / 'out.py')
    assert get_model(tmp_path / 'out.py', pretrained=str(tmp_path / 'out.pth')).head.num_classes == 3


def new_style(text):
    """The same config with classes in the place of names, as mmengine saves it in a checkpoint."""
    full = {
        'LoadImageFromFile': 'mmcv.transforms.LoadImageFromFile',
        'Resize': 'mmcv.transforms.Resize',
        'PackInputs': 'mmpretrain.datasets.PackInputs',
        'ImageClassifier': 'mmpretrain.models.ImageClassifier',
        'ResNet': 'mmpretrain.models.ResNet',
        'GlobalAveragePooling': 'mmpretrain.models.GlobalAveragePooling',
        'SDNHead': 'mmrecall.models.heads.SDNHead',
    }
    for name, path in full.items():
        text = text.replace(f"type='{name}'", f"type='{path}'")
    return text.replace("default_scope = 'mmpretrain'\n", '')


def test_the_inferencer_takes_the_classifier_of_a_new_style_config(tmp_path):
    synthetic_data.image_folder(tmp_path / 'images', classes=3)
    image = str(next((tmp_path / 'images').rglob('*.png')))
    results = []
    for name, text in (('old', CONFIG), ('new', new_style(CONFIG))):
        torch.manual_seed(0)
        sdn_to_classifier(made_checkpoint(tmp_path, text), tmp_path / f'{name}.pth')
        inferencer = ImageClassificationInferencer(tmp_path / f'{name}.py', pretrained=str(tmp_path / f'{name}.pth'))
        results.append(inferencer(image)[0]['pred_scores'].tolist())
    assert results[0] == results[1]


def test_nested_transforms_of_a_new_style_config_get_short_names_too(tmp_path):
    text = new_style(CONFIG).replace(
        "dict(type='mmcv.transforms.Resize', scale=32)",
        "dict(type='mmcv.transforms.RandomApply', transforms=[dict(type='mmcv.transforms.Resize', scale=32)])",
    )
    written = sdn_to_classifier(made_checkpoint(tmp_path, text), tmp_path / 'out.pth')
    _, nested, _ = Config.fromfile(written.config).test_dataloader.dataset.pipeline
    assert nested == dict(type='RandomApply', transforms=[dict(type='Resize', scale=32)])


def test_a_network_without_class_names_can_be_loaded(tmp_path):
    sdn_to_classifier(made_checkpoint(tmp_path), tmp_path / 'out.pth')
    model = get_model(tmp_path / 'out.py', pretrained=str(tmp_path / 'out.pth'))
    assert model.head.fc.weight.shape == (3, 64)
    assert 'dataset_meta' not in load(tmp_path / 'out.pth')['meta']


def test_another_stock_head_stays_what_it_is_and_its_loss_goes(tmp_path):
    part = "dict(type='StackedLinearClsHead', mid_channels=[5], loss=dict(type='SeesawLoss', num_classes=3))"
    text = CONFIG.replace('alpha=0.5', f'classifier_head={part}')
    sdn_to_classifier(made_checkpoint(tmp_path, text), tmp_path / 'out.pth')
    model = get_model(tmp_path / 'out.py', pretrained=str(tmp_path / 'out.pth'))
    assert type(model.head).__name__ == 'StackedLinearClsHead'
    assert type(model.head.loss_module).__name__ == 'CrossEntropyLoss'
    saved = load(tmp_path / 'network.pth')['state_dict']
    assert torch.equal(model.head.fc.fc.weight, saved['head.classifier_head.layers.1.fc.weight'])


def test_the_config_can_be_given(tmp_path):
    checkpoint = made_checkpoint(tmp_path, meta=dict())
    with pytest.raises(ValueError, match='no config in its meta; give the one it was trained with by --config'):
        sdn_to_classifier(checkpoint, tmp_path / 'out.pth')
    (tmp_path / 'network.py').write_text(CONFIG)
    assert sdn_to_classifier(checkpoint, tmp_path / 'out.pth', str(tmp_path / 'network.py')).has_pipeline


def without(weights, name):
    return {key: value for key, value in weights.items() if key != name}


NETWORK = "head=dict(type='SDNHead', num_classes=3, in_channels=64, alpha=0.5)"
BAD = {
    'no SDN': (
        dict(text=CONFIG.replace(NETWORK, "head=dict(type='LinearClsHead', num_classes=3, in_channels=64)")),
        "the head of its config is 'LinearClsHead', not an SDNHead",
    ),
    'no head': (dict(text=CONFIG.replace(NETWORK, 'head=None')), 'the head of its config is None'),
    'cosine': (
        dict(text=CONFIG.replace('alpha=0.5', "classifier_head=dict(type='CosineClsHead')")),
        'got head of type mmrecall.CosineClsHead; expected modules of mmpretrain',
    ),
    'weights of another network': (dict(state_dict={}), r'(?s)does not fit its config.*Missing.*"head.fc.weight"'),
    'no weights': (dict(text=CONFIG), "has no 'state_dict'"),
    'no checkpoint': (None, 'cannot be read as a checkpoint'),
}


@pytest.mark.parametrize('case', BAD)
def test_what_cannot_be_exported_is_named_and_nothing_is_written(case, tmp_path):
    options, message = BAD[case]
    if options is None:
        checkpoint = str(tmp_path / 'network.pth')
        (tmp_path / 'network.pth').write_text('no checkpoint')
    else:
        checkpoint = made_checkpoint(tmp_path, **options)
    if case == 'no weights':
        torch.save(without(load(checkpoint), 'state_dict'), checkpoint)
    with pytest.raises(ValueError, match=message):
        sdn_to_classifier(checkpoint, tmp_path / 'out.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['network.pth']


def test_one_missing_weight_is_named(tmp_path):
    checkpoint = made_checkpoint(tmp_path)
    weights = without(load(checkpoint)['state_dict'], 'head.classifier_head.fc.bias')
    with pytest.raises(ValueError, match=r'(?s)Missing.*"head.fc.bias"'):
        sdn_to_classifier(made_checkpoint(tmp_path, state_dict=weights), tmp_path / 'out.pth')


@pytest.mark.parametrize('there', ['out.pth', 'out.py'])
def test_no_file_is_overwritten(there, tmp_path):
    (tmp_path / there).write_text('precious')
    with pytest.raises(FileExistsError, match=f'{there} is there already'):
        sdn_to_classifier('network.pth', tmp_path / 'out.pth')
    assert (tmp_path / there).read_text() == 'precious'


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, monkeypatch):
    checkpoint = made_checkpoint(tmp_path)
    monkeypatch.setattr('mmrecall.io.files.token_hex', lambda number: 'one')
    # the system's own full disk
    (tmp_path / 'out.pth.one.partial').symlink_to('/dev/full')
    with pytest.raises(OSError, match=r'No space left on device\); make room.*out\.pth'):
        sdn_to_classifier(checkpoint, tmp_path / 'out.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['network.pth']
    assert sdn_to_classifier(checkpoint, tmp_path / 'out.pth').checkpoint.is_file()


class Runs:
    """Unpickling runs a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_checkpoint_of_anybody_is_exported_without_running_what_it_holds(tmp_path):
    marker = tmp_path / 'marker'
    bad = Runs(f'touch {marker}')
    checkpoint = made_checkpoint(tmp_path, message_hub=dict(log_scalars=dict(loss=bad)), optimizer=[bad])
    sdn_to_classifier(checkpoint, tmp_path / 'out.pth')
    assert not marker.exists()
    load(checkpoint)
    assert marker.exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (("default_scope = 'mmpretrain'", 'import os; os.system("touch marker")'), 'not made of.*import os'),
        (("default_scope = 'mmpretrain'", "custom_imports = dict(imports=['this'])"), 'imports this.*--config'),
        (("type='ImageClassifier'", "type='HuggingFaceClassifier'"), 'not an ImageClassifier'),
        (('depth=18', 'depth=__import__("os").system("touch marker")'), 'not made of plain values'),
        (("type='ResNet'", "type='os.system', command='touch marker'"), "a part of type 'os.system', which is no part"),
        (("dict(type='GlobalAveragePooling')", "dict(type='subprocess.Popen', args=['touch', 'marker'])"), 'Popen'),
    ],
)  # fmt: skip
def test_a_config_in_a_checkpoint_runs_nothing(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = CONFIG.replace(*change)
    assert text != CONFIG
    # what mmengine saves has no variables
    checkpoint = made_checkpoint(tmp_path, meta=dict(cfg=text.replace('pipeline=pipeline', 'pipeline=[]')))
    with pytest.raises(ValueError, match=rf'(?s)network\.pth.*{message}'):
        sdn_to_classifier(checkpoint, tmp_path / 'out.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['network.pth']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.pth', 'out.pth'], 'nowhere.pth is missing'),
        (['nowhere.pth', 'out'], 'out must end with .pth; the config is written beside it, with .py'),
    ],
)
def test_the_tool_says_what_is_wrong_in_one_line(arguments, message, repository, tmp_path):
    checkpoint, out = arguments
    status, output = run('python', repository / TOOL, tmp_path / checkpoint, tmp_path / out)
    assert status == 1
    assert message in output
    assert 'Traceback' not in output
