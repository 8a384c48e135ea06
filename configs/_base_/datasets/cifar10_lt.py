"""CIFAR-10-LT: ten classes, imbalance ratio 100, images as files and lists of "path label"."""

data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
dataset_type = 'mmrecall.LongTailList'
data_root = 'data/cifar10-lt'
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='CIFAR10_LT_train.txt',
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='CIFAR10_LT_test.txt',
        pipeline=test_pipeline,
    ),
)
# CIFAR-10 has no validation split
val_dataloader = test_dataloader
val_evaluator = dict(type='mmrecall.ShotAccuracy', class_counts=f'{data_root}/CIFAR10_LT_train.txt')
test_evaluator = val_evaluator
