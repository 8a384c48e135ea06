"""What is installed decides what is registered; nothing that is missing is fatal."""

from pathlib import Path

import pytest
from commands import BEYOND_TORCH, python


def test_every_loss_trains_with_torch_and_numpy_alone_and_what_needs_more_says_so():
    script = Path(__file__).with_name('train_with_torch_alone.py')
    output = python(
        f"""
import importlib, mmrecall, torch
assert mmrecall.RecallLoss is mmrecall.losses.RecallLoss
for part in ('registry', 'models', 'engine', 'datasets', 'evaluation'):
    for imported in (lambda: getattr(mmrecall, part), lambda: importlib.import_module('mmrecall.' + part)):
        try:
            imported()
        except ImportError as error:
            print(error)
exec(compile(open({str(script)!r}).read(), {str(script)!r}, 'exec'))
""",
        *BEYOND_TORCH,
    )
    # mmrecall.models alone can be imported: the former place of the losses is there
    assert output.count('cannot be imported') == 9
    assert output.count('pip install "mmrecall[onedl]"') == 9
    assert 'False' not in output
    assert output.count('two ranks equal one process: True') == output.count('trained 20 steps: True') > 10


def test_losses_need_mmengine_alone():
    output = python(
        """
import mmrecall, mmengine
print(mmengine.registry.MODELS.build(dict(type='RecallLoss')))
print(mmengine.registry.MODELS.build(dict(type='mmrecall.RecallLoss')))
""",
        'mmcv', 'mmseg', 'mmpretrain',
    )  # fmt: skip
    assert output.count('RecallLoss(alpha=1.0') == 2


def test_counts_samplers_and_metrics_need_mmengine_alone_and_data_sets_say_what_they_need():
    output = python(
        """
import mmrecall, mmengine
from mmrecall.datasets import count_labels
print(mmengine.registry.HOOKS.get('mmrecall.ClassCountsHook').__name__)
print(mmengine.registry.HOOKS.get('DeferredReweightingHook').__name__)
print(mmengine.registry.METRICS.get('mmrecall.ShotAccuracy').__name__)
print(mmengine.registry.DATA_SAMPLERS.get('ClassProbabilitySampler').__name__)
print(mmengine.registry.DATA_SAMPLERS.get('mmrecall.RareClassSampler').__name__)
class Flowers:
    metainfo = dict(classes=('a', 'b'))
    def __len__(self): return 3
    def get_data_info(self, index): return dict(gt_label=index % 2)
print(count_labels(Flowers()).counts)
try:
    from mmrecall.datasets import CamVidDataset
except ImportError as error:
    print(error)
for name in ('CamVidDataset', 'PlacesLT'):
    try:
        getattr(mmrecall.datasets, name)
    except ImportError as error:
        print(error)
try:
    from mmrecall.evaluation import RareClassIoU
except ImportError as error:
    print(error)
try:
    mmrecall.evaluation.RareClassIoU
except ImportError as error:
    print(error)
print(hasattr(mmrecall.datasets, 'NoDataset') or hasattr(mmrecall.evaluation, 'NoMetric'))
""",
        'mmcv', 'mmseg', 'mmpretrain',
    )  # fmt: skip
    assert (
        'ClassCountsHook\nDeferredReweightingHook\nShotAccuracy\nClassProbabilitySampler\nRareClassSampler\n[2, 1]\n'
        in output
    )
    assert output.count('mmseg.datasets cannot be imported') == 2
    assert output.count('mmpretrain.datasets cannot be imported') == 1
    assert output.count('mmseg.evaluation cannot be imported') == 2
    assert output.rstrip().endswith('False')


@pytest.mark.parametrize(('toolbox', 'other'), [('mmseg', 'mmpretrain'), ('mmpretrain', 'mmseg')])
def test_each_codebase_alone_is_enough_for_its_half(toolbox, other):
    pytest.importorskip(toolbox)
    name = dict(mmseg='CamVidDataset', mmpretrain='PlacesLT')[toolbox]
    output = python(
        f"""
from {toolbox}.registry import DATASETS, METRICS, MODELS
print(MODELS.build(dict(type='mmrecall.RecallLoss')))
print(DATASETS.get('mmrecall.{name}'))
print(METRICS.build(dict(type='mmrecall.ShotAccuracy', class_counts=[1, 2])))
""",
        other,
    )
    assert 'RecallLoss(alpha=1.0' in output
    assert f"{name}'>" in output
    assert 'ShotAccuracy object' in output
