"""Wheel and sdist have what they should have, and their metadata is true."""

import importlib.util
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest
from commands import run

import mmrecall

pytest.importorskip('hatchling')

ROOT = Path(__file__).parents[1]
MIM = ('configs', 'tools', 'model-index.yml')


def build(folder, out):
    status, output = run(
        'python', '-m', 'hatchling', 'build', '--target', 'sdist', '--target', 'wheel', '--directory', out, cwd=folder
    )
    assert status == 0, output
    return next(out.glob('*.tar.gz')), next(out.glob('*.whl'))


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp('dist'))


@pytest.fixture(scope='module')
def committed():
    """Return the files of the repository, without the links in mmrecall/.mim."""
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip('no git repository')
    files = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    return {name for name in files if not name.startswith('mmrecall/.mim/')}


def in_mim(files):
    return {f'mmrecall/.mim/{name}' for name in files if name.partition('/')[0] in MIM}


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope='module')
def metadata(archives):
    (text,) = (content for name, content in contents(archives[1]).items() if name.endswith('/METADATA'))
    return Parser().parse(io.StringIO(text.decode()))


def test_the_wheel_has_the_package_with_configs_tools_and_model_index_and_nothing_else(archives, committed):
    files = {name for name in contents(archives[1]) if '.dist-info/' not in name}
    modules = {name for name in committed if name.startswith('mmrecall/')} | {'mmrecall_command.py'}
    assert files == modules | in_mim(committed)
    assert {'mmrecall/py.typed', 'mmrecall/.mim/tools/train.py'} <= files


def test_the_sdist_has_every_file_of_the_repository_and_no_other(archives, committed):
    with tarfile.open(archives[0]) as archive:
        # hatchling keeps a link to a file, and follows those to folders
        files = {one.name.partition('/')[2] for one in archive.getmembers() if one.isfile() or one.issym()}
    assert files - {'PKG-INFO'} == committed | in_mim(committed)


def test_the_wheel_of_the_sdist_is_that_of_the_checkout(archives, tmp_path):
    with tarfile.open(archives[0]) as archive:
        archive.extractall(tmp_path)
    (unpacked,) = tmp_path.iterdir()
    assert contents(build(unpacked, tmp_path / 'dist')[1]) == contents(archives[1])


def test_the_description_on_a_package_index_has_no_dead_link(metadata):
    places = re.findall(r'\]\(([^)\s]+)', metadata.get_payload())
    assert places
    assert [place for place in places if not place.startswith(('https://', '#'))] == []


@pytest.mark.parametrize(
    ('repository', 'expected'),
    [
        ('', 'See docs/a.md, [this](https://b.example) and [below](#c).\n\n'),
        (
            'https://h.example/r',
            'See [docs/a.md](https://h.example/r/blob/HEAD/docs/a.md#d), [this](https://b.example) and [below](#c).\n\n'
            '![A\npicture](https://h.example/r/raw/HEAD/docs/e.svg)',
        ),
    ],
)
def test_links_to_files_lead_to_the_repository_or_become_text(repository, expected):
    spec = importlib.util.spec_from_file_location('hatch_build', ROOT / 'hatch_build.py')
    hatch_build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hatch_build)
    readme = 'See [docs/a.md](docs/a.md#d), [this](https://b.example) and [below](#c).\n\n![A\npicture](docs/e.svg)'
    assert hatch_build.readme_outside(readme, repository) == expected


def test_the_version_is_the_same_everywhere(metadata):
    version = mmrecall.__version__
    assert metadata['Version'] == version
    assert re.search(r'^version: (.*)', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)[1] == version
    assert re.findall(r'^## \[(\d.*?)\]', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)[0] == version


def test_a_wheel_is_tried_without_a_change_of_the_environment_that_it_borrows(archives, tmp_path):
    """Links lead to the packages of this interpreter: what wrote through one would change them."""
    before = {file: file.locate().stat() for file in distribution('numpy').files if file.locate().exists()}
    (tmp_path / 'script.py').write_text(
        'from importlib.util import find_spec\nimport sys, numpy\n'
        'assert find_spec("pip") is find_spec("torch") is None\n'
        'assert all(find_spec(name).origin.startswith(sys.prefix) for name in ("mmrecall", "numpy"))\n'
    )
    status, output = run(
        sys.executable, ROOT / 'tests' / 'fresh_environment.py', archives[1], tmp_path / 'script.py', 'numpy'
    )
    assert status == 0, output
    after = {file: file.locate().stat() for file in before}
    assert {file: (stat.st_ino, stat.st_mtime, stat.st_size) for file, stat in before.items()} == {
        file: (stat.st_ino, stat.st_mtime, stat.st_size) for file, stat in after.items()
    }
