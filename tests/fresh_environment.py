"""Run a script where a wheel is installed, as a user of it would: in an empty folder, with a new environment.

The environment has the named packages of this interpreter's, and what they require, or else all of them, as links to
save the gigabytes of PyTorch. What writes through a link changes this interpreter's own packages: pip is done before
the first link is made, and the new environment has no pip. Environment and folder are removed at the end.

Example: python tests/fresh_environment.py dist/*.whl tests/try_with_torch_alone.py torch numpy
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('wheel', type=Path)
    parser.add_argument('script', type=Path)
    parser.add_argument('packages', nargs='*')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='mmrecall-') as folder:
        python = new_environment(Path(folder) / 'environment', arguments.wheel, arguments.packages)
        empty = Path(folder) / 'empty'
        empty.mkdir()
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        environment['PYTHONDONTWRITEBYTECODE'] = '1'
        return subprocess.run([python, arguments.script.resolve()], cwd=empty, env=environment).returncode


def new_environment(folder: Path, wheel: Path, packages: list[str]) -> Path:
    """Return the interpreter of a new environment with a wheel, and links to packages of this one."""
    venv.create(folder, symlinks=True)
    here = Path(sysconfig.get_path('purelib'))
    there = Path(sysconfig.get_path('purelib', vars=dict(base=str(folder), platbase=str(folder))))
    # --isolated: settings of the user could name places with other wheels; --no-deps: nothing but this one
    pip = [sys.executable, '-m', 'pip', '--isolated', 'install', '--quiet', '--no-index', '--no-deps']
    subprocess.run([*pip, '--target', there, wheel.resolve()], check=True)
    for name in {Path(file).parts[0] for package in borrowed(packages) for file in package.files}:
        if name not in ('..', '__pycache__'):
            (there / name).symlink_to(here / name)
    return folder / 'bin' / 'python'


def borrowed(names: list[str]) -> list[Distribution]:
    """Return the packages that are linked: never pip, nor this project as it is installed here."""
    found = with_requirements(names) if names else distributions()
    return [package for package in found if package.metadata['Name'] not in ('pip', 'mmrecall')]


def with_requirements(names: list[str]) -> list[Distribution]:
    """Return packages and, as far as this environment has them, all that they require."""
    found = {name: distribution(name) for name in names}
    required = [requirement for package in found.values() for requirement in package.requires or ()]
    while required:
        one = Requirement(required.pop())
        if one.name in found or (one.marker and not one.marker.evaluate({'extra': ''})):
            continue
        try:
            found[one.name] = distribution(one.name)
        # The headless OpenCV stands for the one that the toolboxes require, see requirements/onedl-packages.in.
        except PackageNotFoundError:
            continue
        required += found[one.name].requires or ()
    return list(found.values())


if __name__ == '__main__':
    sys.exit(main())
