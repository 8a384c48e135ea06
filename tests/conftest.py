"""Fixtures for the whole suite."""

import gc
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))

torch.set_num_threads(1)
# a full collection goes through all objects of the imported libraries
gc.set_threshold(20_000)
# a busy machine is no failure
settings.register_profile('any speed', deadline=None)
settings.load_profile('any speed')

from distributed import Ranks  # noqa: E402
from yapf_cache import format_every_text_once  # noqa: E402

format_every_text_once()

# the longest first: what is begun last is short, and no process waits long for the other
LONG = (
    'test_demo_classification.py', 'test_demo.py', 'test_tools.py', 'test_exact_resume.py',
    'test_classification_configs.py', 'test_stock_configs.py', 'test_train_table.py', 'test_show_predictions.py',
    'test_benchmark_losses.py', 'test_sdn_to_classifier.py', 'test_benchmark_training.py', 'test_many_ranks.py',
    'test_resumed_config.py', 'test_class_gradients.py', 'test_long_tail_list.py', 'test_ranks.py',
    'test_engine_ranks.py', 'test_import.py',
)  # fmt: skip


def pytest_collection_modifyitems(config, items):
    """Of several processes that share the files (pytest-xdist), each takes the next one when it is through with one."""
    if hasattr(config, 'workerinput'):
        order = {name: number for number, name in enumerate(LONG)}
        items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.fixture(autouse=True)
def _seed():
    _seed_all()


@pytest.fixture(autouse=True, scope='module')
def _seed_of_fixtures():
    _seed_all()


def _seed_all():
    torch.manual_seed(0)
    # a runner without a seed draws one from here
    numpy.random.seed(0)


@pytest.fixture(autouse=True, scope='module')
def _imported_libraries_are_no_garbage():
    """mmengine collects the garbage of the whole process for every data set, a tenth of the time of the suite."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _default_scope():
    """A runner changes where bare names are looked up, for good; the next test must not see it."""
    with _kept_scopes():
        yield


@pytest.fixture(autouse=True, scope='module')
def _default_scope_of_fixtures():
    """Nor the next file, that of a runner in a fixture for all tests of a file."""
    with _kept_scopes():
        yield


@contextmanager
def _kept_scopes():
    before = _scopes().copy()
    yield
    _scopes().clear()
    _scopes().update(before)


def _scopes():
    registry = sys.modules.get('mmengine.registry')
    return {} if registry is None else registry.DefaultScope._instance_dict


@pytest.fixture
def repository() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope='session')
def two_ranks():
    """Two processes of one gloo group."""
    ranks = Ranks(2)
    yield ranks
    ranks.stop()


@pytest.fixture(scope='session')
def four_ranks():
    """Four processes of one gloo group."""
    ranks = Ranks(4)
    yield ranks
    ranks.stop()


@pytest.fixture
def fused_however_small(monkeypatch):
    """Take the fused pass over the logits, as in a training, though a test's batch is small."""
    monkeypatch.setattr('mmrecall.functional.backends.cpu._SMALL', 1)
    monkeypatch.setattr('mmrecall.functional.backends.binary._BLOCK', 8)
