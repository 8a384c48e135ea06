"""Run the demo and train a copied config from an installed wheel, beside toolboxes. Called by fresh_environment.py."""

import subprocess
import sys
from pathlib import Path

import mmengine
from mmengine.utils import get_installed_path

import mmrecall

CONFIG = 'deeplabv3/deeplabv3_r18w16-d8_1xb8-recall-350i_street-scenes-128x256'


def main():
    package = Path(get_installed_path('mmrecall'))
    assert Path(mmrecall.__file__).parent == package
    assert package.is_relative_to(sys.prefix), package

    # Data, both trainings and their tests, a table and a picture: all with the configs and tools of the wheel.
    mmrecall_command('demo', '--out', 'demo', '--frames', '20', '--iterations', '2')
    assert Path('demo', 'demo-seed0.png').is_file()

    mmrecall_command('configs', 'copy', CONFIG)
    options = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    options += [f'{split}_dataloader.dataset.data_root=demo/street_scenes-20/' for split in ('train', 'val')]
    mmrecall_command('train', f'configs/{CONFIG}.py', '--work-dir', 'trained', '--cfg-options', *options)
    assert Path('trained', 'iter_2.pth').is_file()
    versions = f'mmrecall {mmrecall.__version__}, mmengine {mmengine.__version__}'
    print(f'{versions}: the demo made its picture, and a copied config was trained')


def mmrecall_command(*words):
    """Run the command of the wheel."""
    subprocess.run([sys.executable, '-m', 'mmrecall', *words], check=True)


if __name__ == '__main__':
    main()
