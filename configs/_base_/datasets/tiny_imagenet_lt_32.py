"""Tiny-ImageNet-LT at half its resolution: 200 classes, imbalance ratio 100: 70 many-, 70 medium-, 60 few-shot."""

data_preprocessor = dict(
    num_classes=200,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=32),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32), dict(type='PackInputs')]
dataset_type = 'mmrecall.LongTailList'
data_root = 'data/tiny-imagenet-lt'
classes = f'{data_root}/classes.txt'
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='TinyImageNet_LT_train.txt',
        classes=classes,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='TinyImageNet_LT_val.txt',
        classes=classes,
        pipeline=test_pipeline,
    ),
)
# the labels of the test images were never published
test_dataloader = val_dataloader
val_evaluator = dict(type='mmrecall.ShotAccuracy', class_counts=f'{data_root}/TinyImageNet_LT_train.txt')
test_evaluator = val_evaluator
