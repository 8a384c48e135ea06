"""docs/losses.md has every argument of every loss, with its default."""

import inspect
import re

import pytest

pytest.importorskip('mmengine')

from mmrecall.losses import BaseLoss
from mmrecall.registry import MODELS

COMMON = 'Common arguments'
LOSSES = sorted(
    {cls for cls in MODELS.module_dict.values() if cls.__module__.startswith('mmrecall.losses')},
    key=lambda cls: cls.__name__,
)


def arguments(cls):
    """Return the defaults of all arguments that a loss takes, by name."""
    found = {}
    for base in cls.__mro__:
        own = vars(base).get('__init__')
        if own is None or not base.__module__.startswith('mmrecall.'):
            continue
        parameters = [one for one in inspect.signature(own).parameters.values() if one.name != 'self']
        found = {one.name: one.default for one in parameters if one.kind is not one.VAR_KEYWORD} | found
        if all(one.kind is not one.VAR_KEYWORD for one in parameters):
            break
    return {name: default for name, default in found.items() if name not in getattr(cls, 'fixed_options', ())}


@pytest.fixture
def tables(repository):
    """Return the defaults that the page gives, by section and argument."""
    page = (repository / 'docs' / 'losses.md').read_text(encoding='utf-8')
    sections = dict(section.split('\n', 1) for section in page.split('\n## ')[1:])
    rows = {name: re.findall(r'^\| `(\w+)` \| (.+?) \| .+ \|$', text, re.MULTILINE) for name, text in sections.items()}
    return {name: dict(found) for name, found in rows.items()}


def shown(default):
    return 'required' if default is inspect.Parameter.empty else f'`{default!r}`'


def test_every_registered_loss_has_a_table_and_nothing_else_has(tables):
    assert len(LOSSES) > 10
    assert set(tables) == {COMMON, *(cls.__name__ for cls in LOSSES)}


@pytest.mark.parametrize('cls', LOSSES, ids=lambda cls: cls.__name__)
def test_the_page_has_every_argument_and_its_default(cls, tables):
    expected = {name: shown(default) for name, default in arguments(cls).items()}
    common = tables[COMMON] if issubclass(cls, BaseLoss) else {}
    assert common | tables[cls.__name__] == expected


def test_options_that_two_readers_asked_for_are_explained(repository):
    page = (repository / 'docs' / 'losses.md').read_text(encoding='utf-8')
    assert '(weight of false positives, weight of false negatives)' in page
    assert 'lower bound on the number of false negatives of a class in the batch' in page
