"""Count the classes of a config's training set: a table, a chart, and a JSON that class_counts= of the losses reads.

For segmentation and classification; label map, reduce_zero_label, ignored labels and repeated data are honoured. What
the pipeline does after loading the labels (crops, for example) is not counted.

All labels are read; those that cannot be, or hold what is no class, are then named one by one. Counts are written only
if there are none, because those of a part would be wrong.

Example: python tools/analysis_tools/class_statistics.py \\
    configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py
"""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, init_default_scope

from mmrecall.analysis.class_statistics import class_counts_table, draw_class_counts
from mmrecall.analysis.display import print_table
from mmrecall.datasets import LabelCounts, count_labels
from mmrecall.datasets.failures import whole_message


def main() -> None:
    """Parse the arguments, count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config whose train_dataloader.dataset is counted')
    parser.add_argument('--out', type=Path, help='JSON (default: work_dirs/<name of the config>/class_counts.json)')
    parser.add_argument('--plot', type=Path, help='PNG of the chart (default: beside the JSON)')
    parser.add_argument('--workers', type=int, help="processes that read labels (default: the train_dataloader's)")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override the config, as in tools/train.py')
    arguments = parser.parse_args()
    out = arguments.out or Path('work_dirs') / Path(arguments.config).stem / 'class_counts.json'
    plot = arguments.plot or out.with_suffix('.png')
    try:
        config = Config.fromfile(arguments.config)
        config.merge_from_dict(arguments.cfg_options or {})
        found = _count(config, arguments.workers)
        print_table(class_counts_table(found))
        found.write(out)
        draw_class_counts(plot, found)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'Counts: {out}\nChart: {plot}')


def _count(config: Config, workers: int | None) -> LabelCounts:
    if 'train_dataloader' not in config:
        raise ValueError(f'{config.filename} has no train_dataloader; there is no training set to count')
    if config.get('default_scope'):
        init_default_scope(config.default_scope)
    loader = config.train_dataloader
    workers = loader.get('num_workers', 0) if workers is None else workers
    ignore_index, num_classes = _of_the_head(config.get('model', {}))
    return count_labels(DATASETS.build(loader.dataset), ignore_index, num_classes, workers, progress=True)


def _of_the_head(model: dict) -> tuple[int | None, int | None]:
    """What the head ignores, and its number of classes."""
    decode_head = model.get('decode_head')
    if decode_head is None:
        return None, (model.get('head') or {}).get('num_classes')
    # of a cascade the last; 255 is mmseg's default
    head = decode_head[-1] if isinstance(decode_head, list) else decode_head
    return head.get('ignore_index', 255), head.get('num_classes')


if __name__ == '__main__':
    main()
