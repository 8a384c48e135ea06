"""Check an installed wheel with only PyTorch and NumPy installed. Called by fresh_environment.py."""

import importlib
import importlib.util
import math
import re
import sys
from importlib.metadata import requires, version
from pathlib import Path

import torch

import mmrecall
from mmrecall import functional


def main():
    package = Path(mmrecall.__file__).parent
    assert package.is_relative_to(sys.prefix), package
    assert mmrecall.__version__ == version('mmrecall')
    assert sorted(one for one in requires('mmrecall') if 'extra' not in one) == ['numpy', 'torch>=2.1']
    assert importlib.util.find_spec('mmengine') is None

    # With equal logits all four samples are predicted as class 0, so class 1 has recall 0: three samples of weight 1.
    logits, target = torch.zeros(4, 2, requires_grad=True), torch.tensor([0, 1, 1, 1])
    loss = mmrecall.RecallLoss()(logits, target)
    loss.backward()
    assert math.isclose(loss.item(), 3 / 4 * math.log(2), rel_tol=1e-6), loss
    assert torch.equal(loss, functional.recall_cross_entropy(logits, target))
    assert logits.grad[1:].abs().min() > 0
    print(
        f'mmrecall {mmrecall.__version__}, PyTorch {torch.__version__}: the recall loss of four samples is {loss:.4f}'
    )

    try:
        importlib.import_module('mmrecall.engine')
    except ImportError as error:
        message = str(error)
    else:
        message = ''
    assert 'pip install "mmrecall[onedl]"' in message, message
    print(f'mmrecall.engine: {message}')

    index = package / '.mim' / 'model-index.yml'
    metafiles = [package / '.mim' / name for name in re.findall(r'^- (\S+)', index.read_text(), re.MULTILINE)]
    configs = [name for file in metafiles for name in re.findall(r'^  Config: (\S+)', file.read_text(), re.MULTILINE)]
    assert len(configs) > 100, configs
    assert [name for name in configs if not (package / '.mim' / name).is_file()] == []
    assert (package / '.mim' / 'tools' / 'train.py').is_file()
    assert (package / 'py.typed').is_file()
    print(f'{len(configs)} models of the index have their configs in {index.parent}')


if __name__ == '__main__':
    main()
