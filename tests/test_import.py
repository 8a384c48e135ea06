"""What is installed decides what is registered; nothing that is missing is fatal."""

import pytest
from commands import run

BLOCK = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {missing!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
"""


def python(code, *missing):
    """Run code in a Python without some packages."""
    status, output = run('python', '-c', BLOCK.format(missing=set(missing)) + code)
    assert status == 0, output
    return output


def test_functional_needs_torch_alone():
    output = python(
        """
import torch, mmrecall
from mmrecall.functional import recall_cross_entropy
print(recall_cross_entropy(torch.zeros(2, 2), torch.tensor([0, 1])).item())
try:
    mmrecall.models
except ImportError as error:
    print(error)
""",
        'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmdet', 'cv2', 'numpy',
    )  # fmt: skip
    assert '0.346' in output
    assert 'mmengine.registry cannot be imported' in output
    assert 'pip install "mmrecall[onedl]"' in output


def test_losses_need_mmengine_alone():
    output = python(
        """
import mmrecall, mmengine
print(mmengine.registry.MODELS.build(dict(type='RecallLoss')))
print(mmengine.registry.MODELS.build(dict(type='mmrecall.RecallLoss')))
try:
    mmrecall.datasets
except ImportError as error:
    print(error)
""",
        'mmcv', 'mmseg', 'mmpretrain',
    )  # fmt: skip
    assert output.count('RecallLoss(alpha=1.0') == 2
    assert 'mmseg.datasets cannot be imported' in output


@pytest.mark.parametrize(('toolbox', 'other'), [('mmseg', 'mmpretrain'), ('mmpretrain', 'mmseg')])
def test_each_codebase_alone_is_enough_for_its_half(toolbox, other):
    pytest.importorskip(toolbox)
    output = python(
        f"""
from {toolbox}.registry import MODELS
print(MODELS.build(dict(type='mmrecall.RecallLoss')))
if '{toolbox}' == 'mmseg':
    from mmseg.registry import DATASETS
    print(DATASETS.get('mmrecall.CamVidDataset').__name__)
""",
        other,
    )
    assert 'RecallLoss(alpha=1.0' in output
    assert toolbox != 'mmseg' or 'CamVidDataset' in output
