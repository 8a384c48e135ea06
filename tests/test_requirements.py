"""The environments of the tests are what they were: every package has its version and the hashes of its files."""

import re

import pytest
from commands import run

FILES = (
    'build',
    'demo',
    'docs',
    'lint',
    'mmdet',
    'mmcv',
    'onedl-packages',
    'openmmlab',
    'package',
    'report',
    'test',
    'torch-2.12',
    'torch-2.15',
    'torch-2.8',
)


def pins(text):
    """Names and versions of the packages of a file."""
    return sorted(re.findall(r'^([\w.-]+==[\w.]+)', text, re.MULTILINE))


@pytest.mark.parametrize('name', FILES)
def test_every_package_has_the_hashes_of_its_files(name, repository):
    text = (repository / 'requirements' / f'{name}.txt').read_text()
    packages = re.split(r'\n(?=\S)', text.partition('\n#    uv pip compile ')[2])[1:]
    assert pins(text) == pins('\n'.join(packages))
    assert [package for package in packages if '--hash=sha256:' not in package] == []


@pytest.mark.parametrize('name', FILES)
def test_the_file_with_hashes_has_the_packages_of_the_one_without(name, repository):
    folder = repository / 'requirements'
    with_hashes, without = ((folder / f'{name}.{suffix}').read_text() for suffix in ('txt', 'in'))
    assert [pin.lower().replace('_', '-') for pin in pins(with_hashes)] == sorted(
        pin.lower().replace('_', '-') for pin in pins(without)
    )


@pytest.mark.parametrize('name', FILES)
def test_every_package_has_a_version_for_the_oldest_python_that_the_makefile_offers(name, repository):
    oldest = '3.11' if name == 'torch-2.15' else '3.10'
    assert f' --python-version {oldest} ' in (repository / 'requirements' / f'{name}.txt').read_text()
    makefile = (repository / 'Makefile').read_text()
    assert 'NEWEST := test-onedl-torch-2.15' in makefile
    assert re.findall(r'MINOR := (\d+)', makefile) == ['10', '11']


def test_environments_are_installed_by_their_hashes(repository):
    lines = [line for line in (repository / 'Makefile').read_text().splitlines() if 'pip install' in line]
    assert len(lines) == 8
    assert [line for line in lines if '--require-hashes' not in line and '--editable .' not in line] == []


def test_the_slurm_tests_say_which_packages_they_ran_on(repository, tmp_path):
    for name in ('slurmctld', 'slurmd', 'munged', 'make', 'dpkg-query'):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    status, output = run('env', f'PATH={tmp_path}:/usr/bin:/bin', 'bash', repository / '.ci' / 'test-slurm')
    assert status == 0
    assert output == 'dpkg-query --show slurmctld slurmd munge\nmake test-slurm\n'
