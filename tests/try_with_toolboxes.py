"""Run the demo from an installed wheel, with the toolboxes installed. Called by fresh_environment.py."""

import subprocess
import sys
from pathlib import Path

import mmengine
from mmengine.utils import get_installed_path

import mmrecall


def main():
    package = Path(get_installed_path('mmrecall'))
    assert Path(mmrecall.__file__).parent == package
    assert package.is_relative_to(sys.prefix), package

    # Data, both trainings and their tests, a table and a picture: all with the configs and tools of the wheel.
    demo = package / '.mim' / 'tools' / 'demo' / 'segmentation.py'
    subprocess.run([sys.executable, demo, '--out', 'demo', '--frames', '20', '--iterations', '2'], check=True)
    assert Path('demo', 'demo-seed0.png').is_file()
    print(f'mmrecall {mmrecall.__version__}, mmengine {mmengine.__version__}: the demo made its picture')


if __name__ == '__main__':
    main()
