"""Train a small Faster R-CNN on synthetic long-tailed boxes and count what it detects, for the table of docs/heads.md.

Three minutes a loss on one idle CPU core, of which each is trained with three seeds:

PYTHONPATH=.venv/onedl/mmdet .venv/onedl/bin/python tests/detection/background.py [NAME ...]
"""

import json
import sys
import tempfile
from pathlib import Path

# before mmdet
import without_compiled_ops  # noqa: F401  isort: skip
import cv2
import numpy as np
import torch
from mmdet.evaluation.functional import bbox_overlaps
from mmengine.config import Config
from mmengine.runner import Runner

CONFIG = Path(__file__).parents[2] / 'configs/faster_rcnn/faster-rcnn_r50-fpn_8xb2-recall-ema0.01-24e_lvis-v1.py'
COUNTS = [800, 400, 200, 100, 50, 25, 12, 6]
CLASSES = len(COUNTS)
SIZE, ITERATIONS, SEEDS = 96, 400, (0, 1, 2)
# rectangles and ellipses by turns; neighbours look alike
COLOURS = (
    (200, 60, 60), (200, 90, 60), (60, 200, 60), (60, 200, 100), (60, 60, 200), (100, 60, 200), (200, 200, 60),
    (200, 170, 60),
)  # fmt: skip
LOSSES = {
    'cross entropy': dict(type='CrossEntropyLoss'),
    'recall': dict(type='mmrecall.RecallLoss'),
    'recall, fixed': dict(type='mmrecall.RecallLoss', no_object_weight=1.0),
    'running': dict(type='mmrecall.RecallLoss', alpha=0.1, num_classes=CLASSES + 1),
    'running, fixed': dict(type='mmrecall.RecallLoss', alpha=0.1, num_classes=CLASSES, no_object_weight=1.0),
    'inverse frequency': dict(
        type='mmrecall.WeightedCrossEntropyLoss',
        class_weight='inverse_frequency',
        class_counts=COUNTS,
        # the weights are 0.03 to 4
        no_object_weight=0.01,
    ),
    'effective number': dict(
        type='mmrecall.WeightedCrossEntropyLoss',
        class_weight='effective_number',
        beta=0.99,
        class_counts=COUNTS,
        # the weights are 0.2 to 3.6
        no_object_weight=0.2,
    ),
    'adjusted': dict(type='mmrecall.LogitAdjustedLoss', class_counts=[*COUNTS, sum(COUNTS) / CLASSES]),
    'seesaw': dict(type='SeesawLoss', num_classes=CLASSES),
}


def write_split(root, split, counts, seed):
    """Write images with one to four objects, triangles that are none, and their boxes in COCO's format."""
    rng = np.random.default_rng(seed)
    (root / split).mkdir(parents=True)
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    rng.shuffle(labels)
    content = dict(images=[], annotations=[], categories=[dict(id=c, name=str(c)) for c in range(CLASSES)])
    while labels:
        number = len(content['images'])
        objects = [labels.pop() for _ in range(min(len(labels), int(rng.integers(1, 5))))]
        image, boxes = draw(objects, rng)
        cv2.imwrite(str(root / split / f'{number}.png'), image)
        content['images'].append(dict(id=number, file_name=f'{number}.png', height=SIZE, width=SIZE))
        for label, (x, y, size) in zip(objects, boxes, strict=True):
            box = dict(bbox=[x, y, size + 1, size + 1], area=(size + 1) ** 2, iscrowd=0)
            content['annotations'].append(
                dict(id=1 + len(content['annotations']), image_id=number, category_id=label, **box)
            )
    (root / f'{split}.json').write_text(json.dumps(content))


def draw(objects, rng):
    """An image, and the left, the top and the size of its objects."""
    noise = np.clip(rng.normal(110, 30, (SIZE // 4, SIZE // 4, 3)), 0, 255).astype(np.uint8)
    image = cv2.resize(noise, (SIZE, SIZE))
    for _ in range(4):
        x, y = rng.integers(0, SIZE - 10, 2)
        size = int(rng.integers(6, 24))
        colour = tuple(int(value) for value in rng.integers(40, 220, 3))
        cv2.fillPoly(image, [np.array([[x, y + size], [x + size, y + size], [x + size // 2, y]])], colour)
    boxes = []
    for label in objects:
        for _ in range(50):
            size = int(rng.integers(14, 32))
            x, y = (int(value) for value in rng.integers(0, SIZE - size - 1, 2))
            if all(max(abs(x - a), abs(y - b)) > 0.8 * max(size, s) for a, b, s in boxes):
                break
        boxes.append((x, y, size))
        colour = tuple(int(value) for value in np.clip(np.array(COLOURS[label]) + rng.normal(0, 18, 3), 0, 255))
        half = size // 2
        if label % 2:
            cv2.ellipse(image, (x + half, y + half), (half, half), 0, 0, 360, colour, -1)
        else:
            cv2.rectangle(image, (x, y), (x + size, y + size), colour, -1)
    return np.clip(image + rng.normal(0, 10, image.shape), 0, 255).astype(np.uint8), boxes


def loader(root, split):
    """Four images a batch, in random order for training."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]
    if split == 'train':
        pipeline.insert(3, dict(type='RandomFlip', prob=0.5))
        pipeline[-1]['meta_keys'] += ('flip',)
    dataset = dict(
        type='CocoDataset',
        metainfo=dict(classes=tuple(map(str, range(CLASSES)))),
        data_root=str(root),
        ann_file=f'{split}.json',
        data_prefix=dict(img=split),
        test_mode=split != 'train',
        pipeline=pipeline,
    )
    sampler = dict(type='InfiniteSampler') if split == 'train' else dict(type='DefaultSampler', shuffle=False)
    return dict(batch_size=4, num_workers=0, sampler=sampler, dataset=dataset)


def config_of(loss, seed, root, work):
    """The config of LVIS with a network, data and a schedule that fit a CPU."""
    config = Config.fromfile(CONFIG)
    model = config.model
    model.backbone.update(depth=18, base_channels=16, frozen_stages=-1, norm_eval=False, init_cfg=None)
    model.neck.update(in_channels=[16, 32, 64, 128], out_channels=32)
    model.rpn_head.update(in_channels=32, feat_channels=32)
    model.rpn_head.anchor_generator.scales = [4]
    model.roi_head.bbox_roi_extractor.update(out_channels=32)
    model.roi_head.bbox_roi_extractor.roi_layer.use_torchvision = True
    model.roi_head.bbox_head.update(in_channels=32, fc_out_channels=128, num_classes=CLASSES)
    # not update, which would keep the options of the loss before
    model.roi_head.bbox_head['loss_cls'] = loss
    model.train_cfg.rpn_proposal.update(nms_pre=300, max_per_img=200)
    model.train_cfg.rcnn.sampler.num = model.train_cfg.rpn.sampler.num = 64
    model.test_cfg.rpn.update(nms_pre=200, max_per_img=100)
    model.test_cfg.rcnn.update(score_thr=0.01, max_per_img=100)
    optimizer = dict(config.optim_wrapper.optimizer)
    return Config(
        dict(
            model=model,
            default_scope='mmdet',
            work_dir=str(work),
            train_dataloader=loader(root, 'train'),
            val_dataloader=loader(root, 'val'),
            val_evaluator=dict(type='CocoMetric', ann_file=f'{root}/val.json', metric='bbox', classwise=True),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=ITERATIONS, val_interval=ITERATIONS),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=optimizer, clip_grad=dict(max_norm=10)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
                dict(type='MultiStepLR', milestones=[int(0.8 * ITERATIONS)], by_epoch=False),
            ],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=50), checkpoint=dict(type='CheckpointHook', interval=10**6)
            ),
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=seed),
        )
    )


@torch.no_grad()
def detections(runner):
    """Boxes with a score above 0.5, by whether they are of an object, and of its class."""
    counts = dict(right=0, wrong_class=0, background=0)
    runner.model.eval()
    for data in runner.val_dataloader:
        for sample in runner.model.test_step(data):
            found, truth = sample.pred_instances, sample.gt_instances
            found = found[found.scores > 0.5]
            boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
            overlaps = bbox_overlaps(found.bboxes.numpy(), boxes.numpy())
            for row, label in zip(overlaps, found.labels.tolist(), strict=True):
                of_its_class = truth.labels[row.argmax()].item() == label
                counts['background' if row.max() < 0.5 else 'right' if of_its_class else 'wrong_class'] += 1
    return counts


def measure(name, seed, root, work):
    """Train with a loss; mean precisions in % and the number of detections."""
    runner = Runner.from_cfg(config_of(LOSSES[name], seed, root, work))
    runner.train()
    scalars = runner.message_hub.log_scalars
    precision = [100 * scalars[f'val/coco/{label}_precision'].data[0][-1] for label in range(CLASSES)]
    return dict(mean=np.mean(precision), rare=np.mean(precision[4:]), **detections(runner))


def main(names):
    """Print a row of the table for each loss."""
    with tempfile.TemporaryDirectory() as folder:
        write_split(Path(folder), 'train', COUNTS, seed=0)
        write_split(Path(folder), 'val', [60] * CLASSES, seed=1)
        for name in names:
            runs = [measure(name, seed, folder, Path(folder, f'{name} {seed}')) for seed in SEEDS]
            columns = {key: [run[key] for run in runs] for key in runs[0]}
            row = ', '.join(f'{key} {np.mean(values):.1f} ± {np.std(values):.1f}' for key, values in columns.items())
            print(f'RESULT {name}: {row}', flush=True)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main(sys.argv[1:] or LOSSES)
