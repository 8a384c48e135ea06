"""Triton decides at import whether its kernels run in its interpreter: these tests have a process of their own,
``TRITON_INTERPRET=1 pytest tests/gpu_kernels``.
"""

import os
from importlib.util import find_spec

import torch

CAN_RUN = (
    os.environ.get('TRITON_INTERPRET') == '1'
    and find_spec('triton') is not None
    and hasattr(torch.library, 'register_fake')
)
collect_ignore_glob = [] if CAN_RUN else ['test_*.py']
