"""A second stage that was killed ends with the same as one that was not."""

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.hooks import Hook
from second_stages import ONCE, first_stage, second_runner

BALANCED = dict(type='mmrecall.ClassProbabilitySampler', strategy='class_balanced')
STAGES = {
    'crt': (dict(type='LinearClsHead'), None, BALANCED),
    'lws': (dict(type='mmrecall.LWSHead'), None, BALANCED),
    'ncm': (dict(type='mmrecall.NearestClassMeanHead'), dict(type='mmrecall.ClassMeansLoop'), ONCE),
    'tau': (dict(type='mmrecall.TauNormHead'), dict(type='mmrecall.TauSelectionLoop'), ONCE),
}


class Killed(Exception):
    """Instead of a signal."""


class Kill(Hook):
    """In the middle: in the second epoch, or in the only pass."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3:
            raise Killed

    def before_train_epoch(self, runner):
        if hasattr(runner.train_loop, 'learn'):
            forward, calls = runner.train_loop.model.extract_feat, []

            def second_call_dies(inputs):
                calls.append(1)
                if len(calls) == 2:
                    raise Killed
                return forward(inputs)

            runner.train_loop.model.extract_feat = second_call_dies


@pytest.mark.parametrize('stage', STAGES)
def test_killed_and_resumed_is_never_killed(stage, tmp_path):
    head, train_cfg, sampler = STAGES[stage]
    path, _ = first_stage(tmp_path)
    torch.manual_seed(5)
    whole = second_runner(tmp_path, head, path, train_cfg, sampler)
    whole.train()
    (tmp_path / 'work').rename(tmp_path / 'whole')

    torch.manual_seed(5)
    killed = second_runner(tmp_path, head, path, train_cfg, sampler)
    killed.register_hook(Kill())
    with pytest.raises(Killed):
        killed.train()
    torch.manual_seed(5)
    resumed = second_runner(tmp_path, head, path, train_cfg, sampler, resume=True)
    resumed.train()
    expected = whole.model.state_dict()
    assert resumed.model.state_dict().keys() == expected.keys()
    for name, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, equal_nan=True)
