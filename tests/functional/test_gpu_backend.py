"""Where the kernels of a GPU cannot run, the reference takes over and says so."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from mmrecall.functional.backends import gpu


class DriverWithoutCompiler:
    @property
    def utils(self):
        raise RuntimeError('Failed to find C compiler')


@pytest.fixture
def triton_with(monkeypatch):
    """Let ``triton.runtime.driver.active`` be another driver."""

    def replace(active):
        runtime = ModuleType('triton.runtime')
        runtime.driver = SimpleNamespace(active=active)
        monkeypatch.setitem(sys.modules, 'triton', ModuleType('triton'))
        monkeypatch.setitem(sys.modules, 'triton.runtime', runtime)

    return replace


def test_without_a_compiler_the_kernels_are_not_taken_and_a_warning_says_what_to_install(triton_with):
    triton_with(DriverWithoutCompiler())
    with pytest.warns(UserWarning, match='Failed to find C compiler.*install gcc or clang'):
        assert not gpu._can_start_kernels()


def test_with_a_driver_they_are(triton_with, recwarn):
    triton_with(SimpleNamespace(utils=object()))
    assert gpu._can_start_kernels()
    assert not recwarn
