"""Every multi-label config, on synthetic images in the layout of CamVid."""

from pathlib import Path

import pytest
import synthetic_data
import torch

pytest.importorskip('mmseg.datasets')
pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from mmrecall.datasets.camvid_tags import write_tags

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('made')
    synthetic_data.camvid(folder / 'data' / 'CamVid', frames=2, size=(18, 24))
    write_tags(folder / 'data' / 'CamVid')
    return folder


@pytest.mark.parametrize('path', sorted((CONFIGS / 'multi_label').glob('*.py')), ids=lambda path: path.stem)
def test_every_config_takes_a_step_and_is_evaluated(path, data, monkeypatch):
    monkeypatch.chdir(data)
    config = Config.fromfile(path)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.dataset.pipeline[1].scale = (48, 36)
    config.model.data_preprocessor = config.data_preprocessor
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = MODELS.build(config.model)
        model.init_weights()
        before = model.head.fc.weight.detach().clone()
        batch = next(iter(Runner.build_dataloader(config.train_dataloader)))
        logged = model.train_step(batch, build_optim_wrapper(model, config.optim_wrapper))
        assert logged['loss'].isfinite()
        assert not torch.equal(model.head.fc.weight, before)
        for name in ('val', 'test'):
            loader = Runner.build_dataloader(config[f'{name}_dataloader'])
            evaluator = Evaluator(config[f'{name}_evaluator'])
            evaluator.dataset_meta = loader.dataset.metainfo
            batch = next(iter(loader))
            evaluator.process(data_samples=model.eval().val_step(batch), data_batch=batch)
            assert len(evaluator.evaluate(2)['multi-label/recall_classwise']) == 11
