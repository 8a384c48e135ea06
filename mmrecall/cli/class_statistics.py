"""Count the classes of a config's training set, and write a chart and a JSON that class_counts= of the losses reads.

It counts for segmentation and classification, with label map, reduce_zero_label, ignored labels and repeated data.
Crops and other transforms after the loading of the labels have no effect on the counts.

All labels are read; then every file that cannot be read, or has a label that is no class, is listed. Counts are written
only if there is no such file, because those of a part would be wrong.

Example: mmrecall class-statistics \\
    configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

from mmrecall.analysis.class_statistics import class_counts_table, draw_class_counts
from mmrecall.analysis.display import print_table
from mmrecall.analysis.training_counts import count_images_of_training_set, count_training_set
from mmrecall.config_files import read_config
from mmrecall.datasets.failures import whole_message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='config whose train_dataloader.dataset is counted')
    parser.add_argument(
        '--out', type=Path, help='path of the JSON (default: work_dirs/<name of the config>/class_counts.json)'
    )
    parser.add_argument('--plot', type=Path, help='path of the PNG of the chart (default: beside the JSON)')
    parser.add_argument(
        '--by-image', type=Path, help='path of an NPZ for the counts of every image, which RareClassSampler reads'
    )
    parser.add_argument('--workers', type=int, help="processes that read labels (default: the train_dataloader's)")
    parser.add_argument(
        '--through-pipeline',
        action='store_true',
        help='count the labels after all transforms of the training, for transforms that edit labels',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')


def run(arguments: argparse.Namespace) -> None:
    """Count, and print and write what was counted."""
    out = arguments.out or Path('work_dirs') / Path(arguments.config).stem / 'class_counts.json'
    plot = arguments.plot or out.with_suffix('.png')
    try:
        config = read_config(arguments.config, arguments.cfg_options)
        found = count_training_set(config, arguments.workers, arguments.through_pipeline)
        print_table(class_counts_table(found))
        found.write(out)
        draw_class_counts(plot, found)
        if arguments.by_image:
            count_images_of_training_set(config, arguments.workers).write(arguments.by_image)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'Counts: {out}\nChart: {plot}')
    if arguments.by_image:
        print(f'Counts by image: {arguments.by_image}')
