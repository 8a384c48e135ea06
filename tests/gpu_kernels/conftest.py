"""Triton decides at import whether its kernels run in its interpreter: these tests have a process of their own.

    TRITON_INTERPRET=1 pytest tests/gpu_kernels
"""

import os

import pytest

IS_INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
collect_ignore_glob = [] if IS_INTERPRETED else ['test_*.py']

if IS_INTERPRETED:
    pytest.importorskip('triton')


@pytest.fixture(autouse=True)
def _quiet_interpreter(recwarn):
    """NumPy, which the interpreter computes with, warns of infinities and NaN."""
    yield
