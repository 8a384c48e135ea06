"""The kernels run on a GPU, or without one in Triton's interpreter, which is chosen when Triton is imported:
``TRITON_INTERPRET=1 pytest tests/gpu_kernels`` is a process of its own.
"""

import os

import pytest
import torch

from mmrecall.functional.backends.gpu import IS_INSTALLED

IS_INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
CAN_RUN = IS_INSTALLED and (IS_INTERPRETED or torch.cuda.is_available())
collect_ignore_glob = [] if CAN_RUN else ['*.py']


@pytest.fixture(autouse=True)
def _tensors_on_the_device_of_the_kernels():
    with torch.device('cpu' if IS_INTERPRETED else 'cuda'):
        yield
