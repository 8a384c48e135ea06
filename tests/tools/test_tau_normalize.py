import pytest
import torch
from commands import run

pytest.importorskip('mmpretrain')

from mmengine.registry import MODELS
from sdn_network import CHANNELS, CLASSES, network_config
from second_stages import LINEAR, build_second, first_stage

from mmrecall.models.converters.tau_normalize import tau_normalize_checkpoint

TOOL = 'tools/model_converters/tau_normalize.py'
SDN = dict(type='mmrecall.SDNHead', num_classes=CLASSES, in_channels=CHANNELS)


@pytest.mark.parametrize('head', [LINEAR, SDN])
def test_the_checkpoint_predicts_what_the_head_does(head, tmp_path):
    path, _ = first_stage(tmp_path, head)
    tau_normalize_checkpoint(path, tmp_path / 'out.pth', 0.7)
    model = MODELS.build({**network_config(), 'head': head, '_scope_': 'mmpretrain'})
    model.load_state_dict(torch.load(tmp_path / 'out.pth')['state_dict'])
    expected = build_second(dict(type='mmrecall.TauNormHead', tau=0.7), path)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.eval()(images), expected.eval()(images))


def test_config_and_class_names_are_kept_and_objects_are_not(tmp_path):
    path, weights = first_stage(tmp_path)
    meta = dict(cfg='a = 1', dataset_meta=dict(classes=['a', 'b']), when=tmp_path)
    torch.save(dict(state_dict=weights, meta=meta, optimizer=dict(lr=1)), path)
    tau_normalize_checkpoint(path, tmp_path / 'out.pth', 1.0)
    written = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert written['meta'] == dict(cfg='a = 1', dataset_meta=dict(classes=['a', 'b']))
    assert set(written) == {'meta', 'state_dict'}


def test_nothing_is_overwritten_and_a_negative_tau_is_named(repository, tmp_path):
    path, _ = first_stage(tmp_path)
    status, output = run('python', repository / TOOL, path, path, '--tau', 1)
    assert (status, 'is there already' in output) == (1, True)
    with pytest.raises(ValueError, match=r'tau=-0\.5'):
        tau_normalize_checkpoint(path, tmp_path / 'out.pth', -0.5)
    assert not (tmp_path / 'out.pth').exists()


def test_parts_of_the_class_names_that_are_objects_are_left_out(tmp_path):
    path, weights = first_stage(tmp_path)
    torch.save(dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=['a'], nested=[tmp_path]))), path)
    tau_normalize_checkpoint(path, tmp_path / 'out.pth', 1.0)
    assert torch.load(tmp_path / 'out.pth', weights_only=True)['meta'] == dict(dataset_meta=dict(classes=['a']))
