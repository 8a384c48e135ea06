"""Every runnable config with its bases merged into it, compared with a recorded copy.

The copy is ``resolved_configs.json.gz`` beside this file. When a config is meant to change, or is added or removed,
look at the keys that the test prints, then write the copy again and commit it with the config:

    python tests/configs/test_resolved_configs.py
"""

import gzip
import json
from pathlib import Path

import pytest

Config = pytest.importorskip('mmengine.config').Config

CONFIGS = Path(__file__).parents[2] / 'configs'
RECORD = Path(__file__).with_name('resolved_configs.json.gz')


def runnable(configs=CONFIGS):
    """All configs but the bases, by their path below ``configs``."""
    paths = {path.relative_to(configs).as_posix(): path for path in configs.rglob('*.py')}
    return {name: path for name, path in sorted(paths.items()) if not name.startswith('_base_/')}


def flat(value, key=''):
    """Dotted keys with the ``repr`` of their values, which tells a tuple from a list and 1 from 1.0."""
    if isinstance(value, dict) and value:
        parts = value.items()
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        parts = enumerate(value)
    else:
        return {key: repr(value)}
    return {name: leaf for k, part in parts for name, leaf in flat(part, f'{key}.{k}' if key else str(k)).items()}


def resolved(path):
    """All keys of a config, also those of variables that only help to write it."""
    return flat(Config.fromfile(path).to_dict())


def record(configs=CONFIGS):
    """Write the copy; its bytes depend on the configs alone."""
    text = json.dumps({name: resolved(path) for name, path in runnable(configs).items()}, sort_keys=True, indent=0)
    RECORD.write_bytes(gzip.compress(text.encode(), mtime=0))


@pytest.fixture(scope='module')
def recorded():
    return json.loads(gzip.decompress(RECORD.read_bytes()))


def test_the_configs_are_those_recorded(recorded):
    assert list(runnable()) == sorted(recorded)


@pytest.mark.parametrize('name', runnable())
def test_a_config_resolves_to_what_is_recorded(name, recorded):
    before, now = recorded[name], resolved(CONFIGS / name)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    assert not changed, '\n'.join(
        f'{key}: recorded {before.get(key, "nothing")}, now {now.get(key, "nothing")}' for key in changed
    )


if __name__ == '__main__':
    record()
