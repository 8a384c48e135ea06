"""The API reference of the site, and its notebooks; `make docs` checks pages, links and anchors, and runs notebooks."""

import importlib
import json
import re

import pytest

pytest.importorskip('mmseg.datasets')
pytest.importorskip('mmpretrain.models')

from mmrecall import registry


def documented_names(module):
    """Return the names of which autodoc makes entries."""
    defined_here = [name for name, value in vars(module).items() if getattr(value, '__module__', '') == module.__name__]
    return getattr(module, '__all__', defined_here)


def test_the_api_reference_has_every_class_that_a_config_can_name(repository):
    pages = ''.join(page.read_text(encoding='utf-8') for page in (repository / 'docs' / 'api').glob('*.md'))
    modules = [importlib.import_module(name) for name in re.findall(r'automodule:: (\S+)', pages)]
    documented = {name for module in modules for name in documented_names(module)}
    registries = [one for one in vars(registry).values() if isinstance(one, registry.Registry)]
    classes = {name: cls for one in registries for name, cls in one.module_dict.items()}
    # the data of the benchmark is registered when that is imported, and no config names it
    ours = {name for name, cls in classes.items() if re.match(r'mmrecall\.(?!analysis\.)', cls.__module__)}
    assert ours
    assert ours - documented == set()


def test_notebooks_are_kept_without_outputs(repository):
    notebooks = list((repository / 'docs' / 'notebooks').glob('*.ipynb'))
    assert notebooks
    cells = [cell for file in notebooks for cell in json.loads(file.read_text(encoding='utf-8'))['cells']]
    assert [cell['id'] for cell in cells if cell.get('outputs') or cell.get('execution_count')] == []
