"""Work dirs with logs by the real writers: mmengine's visualizer and logger, mmseg's metric."""

import itertools
import json

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization import LocalVisBackend

CLASSES = ('road', 'pole', 'bus')
MODULE = 'decode_head.loss_decode'
CE = dict(type='CrossEntropyLoss', use_sigmoid=False)
RECALL = dict(type='mmrecall.RecallLoss')
_NUMBER = itertools.count()


def segmentation_config(loss=CE, seed=0, lr=0.1, workers=2, root='data/CamVid', classes=CLASSES, hooks=()):
    """Return the parts of a resolved config of mmseg that the report reads."""

    def loader(split):
        return dict(
            batch_size=2,
            num_workers=workers,
            dataset=dict(type='mmrecall.CamVidDataset', data_root=root, data_prefix=dict(img_path=split), pipeline=[]),
        )

    return dict(
        default_scope='mmseg',
        model=dict(type='EncoderDecoder', decode_head=dict(num_classes=len(classes), loss_decode=loss)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr)),
        custom_hooks=list(hooks),
        randomness=dict(seed=seed),
        **{f'{split}_dataloader': loader(split) for split in ('train', 'val', 'test')},
    )


def classification_config(head, seed=0, data='cifar10-lt'):
    """Return the same of mmpretrain, validated and tested on one list."""

    def loader(part):
        return dict(dataset=dict(type='mmrecall.LongTailList', data_root=f'data/{data}', ann_file=f'{part}.txt'))

    return dict(
        default_scope='mmpretrain',
        model=dict(type='ImageClassifier', head=dict(num_classes=10, **head)),
        randomness=dict(seed=seed),
        train_dataloader=loader('train'),
        val_dataloader=loader('test'),
        test_dataloader=loader('test'),
    )


class Start:
    """One start of a training, whose logs are written at once."""

    def __init__(self, work_dir, config, time='20260101_000000'):
        self.folder = work_dir / time
        self.vis_data = self.folder / 'vis_data'
        self.backend = LocalVisBackend(str(self.vis_data))
        self.backend.add_config(Config(config))
        self.logger = new_logger(self.folder / f'{time}.log')
        self.scalars = self.vis_data / 'scalars.json'

    def train(self, step, **values):
        self.backend.add_scalars(dict(loss=1.0) | values | dict(iter=step), step=step)

    def weights(self, step, quantity, values, module=MODULE):
        self.backend.add_scalars({f'{quantity}/{module}/{name}': value for name, value in values.items()}, step=step)

    def validate(self, step, metrics):
        self.backend.add_scalars(dict(**metrics, data_time=0.1, time=0.2), step=step)


def new_logger(path):
    """Return mmengine's logger as its runner makes it; it is the current one from now on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return MMLogger.get_instance(f'written {next(_NUMBER)}', logger_name='mmengine', log_file=str(path))


def log_table(classes=CLASSES, seed=0, iou_metrics=('mIoU',)):
    """Return metrics, IoU and Acc by class of random maps; mmseg's metric writes its table to the current log."""
    from mmseg.evaluation import IoUMetric

    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(len(classes), (40, 40), generator=generator)
    wrong = torch.rand(label.shape, generator=generator) < 0.4
    prediction = torch.where(wrong, torch.randint(len(classes), label.shape, generator=generator), label)
    metric = IoUMetric(iou_metrics=list(iou_metrics))
    metric.dataset_meta = dict(classes=classes)
    metric.results = [metric.intersect_and_union(prediction, label, len(classes), 255)]
    metrics = metric.compute_metrics(metric.results)
    by_class = []
    for number in range(len(classes)):
        same, of_class, called = (prediction == label) & (label == number), label == number, prediction == number
        by_class.append([100 * float(same.sum() / part.sum()) for part in (of_class | called, of_class)])
    return {name: float(value) for name, value in metrics.items()}, np.array(by_class)


def write_test(work_dir, classes=CLASSES, seed=0, metrics=None, time='20260102_000000', checkpoint=None):
    """Write the files of tools/test.py; return metrics, IoU and Acc by class."""
    folder = work_dir / 'test' / time
    logger = new_logger(folder / f'{time}.log')
    logger.info(f'Load checkpoint from {checkpoint or work_dir / "iter_10.pth"}')
    by_class = None
    if metrics is None:
        metrics, by_class = log_table(classes, seed)
    (folder / f'{time}.json').write_text(json.dumps(metrics | dict(data_time=0.1, time=0.2)))
    return metrics, by_class


def write_run(work_dir, config, classes=CLASSES, tested=0, metrics=None):
    """Write a training of ten iterations, with a test; ``tested`` is the seed of its result, None for no test."""
    start = Start(work_dir, config)
    for step in (5, 10):
        start.train(step)
    if tested is not None:
        write_test(work_dir, classes, tested, metrics)
    return start
