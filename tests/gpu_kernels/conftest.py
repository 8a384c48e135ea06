"""The kernels run on a GPU, or without one in Triton's interpreter, which is chosen when Triton is imported:
``TRITON_INTERPRET=1 pytest tests/gpu_kernels`` is a process of its own.
"""

import os
from importlib.util import find_spec

import pytest
import torch

IS_INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
CAN_RUN = (
    (IS_INTERPRETED or torch.cuda.is_available())
    and find_spec('triton') is not None
    and hasattr(torch.library, 'register_fake')
)
collect_ignore_glob = [] if CAN_RUN else ['*.py']


@pytest.fixture(autouse=True)
def _tensors_on_the_device_of_the_kernels():
    with torch.device('cpu' if IS_INTERPRETED else 'cuda'):
        yield
