"""CIFAR-10-LT from the official archive, in memory: ten classes, imbalance ratio 100, 5,000 to 50 images per class."""

# of CIFAR-10, as Cao et al. (NeurIPS 2019) normalise both data sets; the images are RGB already
data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=False,
)
train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]
dataset_type = 'mmrecall.CIFAR10LT'
data_root = 'data/cifar10'
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        imbalance_factor=100,
        imbalance_type='exponential',
        seed=0,
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
)
# CIFAR-10 has no validation split
val_dataloader = test_dataloader
val_evaluator = dict(type='mmrecall.ShotAccuracy', class_counts=[5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
test_evaluator = val_evaluator
