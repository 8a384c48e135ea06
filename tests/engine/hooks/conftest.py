"""Runners in the tests' own process."""

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _scope_of_before():
    """A runner changes where bare names are looked up, for good."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
