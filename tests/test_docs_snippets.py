"""Lines of the docs that are to be copied into a config build what they name."""

import ast
import re

import pytest

pytest.importorskip('mmpretrain')

from mmengine.config import Config

from mmrecall.datasets import ClassProbabilitySampler, LabelCounts
from mmrecall.registry import DATA_SAMPLERS, HOOKS, METRICS, MODELS, TRANSFORMS


def variables(repository, page, section, tmp_path):
    """Return the config of the first snippet of a section."""
    text = (repository / page).read_text(encoding='utf-8').split(f'## {section}\n', 1)[1]
    file = tmp_path / 'snippet.py'
    file.write_text(re.search(r'```python\n(.*?)```', text, re.DOTALL)[1])
    return Config.fromfile(file).to_dict()


def test_the_sampler_of_the_docs_replaces_the_one_that_is_inherited(repository, tmp_path):
    (tmp_path / 'base.py').write_text("train_dataloader = dict(sampler=dict(type='DefaultSampler', shuffle=True))\n")
    text = (repository / 'docs' / 'data.md').read_text(encoding='utf-8').split('## Samplers\n', 1)[1]
    snippet = re.search(r'```python\n(.*?)```', text, re.DOTALL)[1]
    (tmp_path / 'own.py').write_text(f"_base_ = './base.py'\n{snippet}")
    sampler = Config.fromfile(tmp_path / 'own.py').train_dataloader.sampler
    assert sampler.to_dict() == dict(type='mmrecall.ClassProbabilitySampler', strategy='class_balanced')
    assert DATA_SAMPLERS.get(sampler.type) is ClassProbabilitySampler


def test_the_rare_class_sampling_of_the_docs_is_daformers(repository, tmp_path):
    pytest.importorskip('mmseg.datasets')
    loader = variables(repository, 'docs/data.md', 'Rare classes', tmp_path)['train_dataloader']
    assert DATA_SAMPLERS.get(loader['sampler']['type']).__name__ == 'RareClassSampler'
    (crop,) = [TRANSFORMS.build(step) for step in loader['dataset']['pipeline'] if 'mmrecall' in step['type']]
    assert (loader['sampler']['min_pixels'], crop.class_pixels, crop.max_attempts) == (3000, 3000 / 2, 10)


def test_ldam_drw_of_the_docs_has_the_classifier_and_the_scale_of_the_paper(repository, tmp_path):
    config = variables(repository, 'docs/long-tail.md', 'LDAM-DRW', tmp_path)
    head = config['model']['head']
    loss = MODELS.build(head['loss'])
    assert MODELS.get(head['type']).__name__ == 'CosineClsHead'
    assert (type(loss).__name__, loss.scale, loss.class_weight, loss.beta) == (
        'LDAMLoss',
        30.0,
        'effective_number',
        0.9999,
    )
    assert HOOKS.build(config['custom_hooks'][0]).begin == 160


def test_the_line_of_the_class_weight_hook_builds_it(repository):
    text = (repository / 'docs/report.md').read_text(encoding='utf-8')
    line = re.search(r"custom_hooks = (\[dict\(type='mmrecall\.ClassWeightHook'.*?\)\])", text)[1]
    (call,) = ast.parse(line, mode='eval').body.elts
    hook = HOOKS.build({option.arg: ast.literal_eval(option.value) for option in call.keywords})
    assert (type(hook).__name__, hook.interval) == ('ClassWeightHook', 50)


def test_the_line_of_the_low_resolution_hook_builds_it(repository, tmp_path):
    (hook,) = variables(repository, 'docs/heads.md', 'Low-resolution logits', tmp_path)['custom_hooks']
    assert type(HOOKS.build(hook)).__name__ == 'LowResolutionLossHook'


def test_the_line_of_the_metric_of_rare_classes_builds_it_from_the_file_that_the_tool_writes(
    repository, tmp_path, monkeypatch
):
    pytest.importorskip('mmseg')
    config = variables(repository, 'docs/class-counts.md', 'Metrics of rare classes', tmp_path)
    assert config['test_evaluator'] == config['val_evaluator']
    monkeypatch.chdir(tmp_path)
    counts = LabelCounts(['a', 'b'], [9, 1], [3, 1], [10, 4], 0, 10, 3, 'pixels')
    counts.write(tmp_path / config['val_evaluator']['class_counts'])
    metric = METRICS.build(config['val_evaluator'])
    metric.dataset_meta = dict(classes=['a', 'b'])
    assert (type(metric).__name__, metric.groups) == ('RareClassIoU', ['common', 'rare'])
