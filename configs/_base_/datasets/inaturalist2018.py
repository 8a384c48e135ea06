"""iNaturalist 2018 at 224x224: 8,142 species, the published lists."""

data_preprocessor = dict(
    num_classes=8142,
    # of these images, from the code of Kang et al. (ICLR 2020) and of Cui et al. (CVPR 2019)
    mean=[118.83, 120.105, 96.9],
    std=[49.725, 49.47, 48.96],
    to_rgb=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
dataset_type = 'mmrecall.INaturalist2018'
data_root = 'data/inaturalist2018'
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='iNaturalist18_train.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='iNaturalist18_val.txt',
        pipeline=test_pipeline,
    ),
)
# the labels of the test images were never published
test_dataloader = val_dataloader
val_evaluator = dict(type='mmrecall.ShotAccuracy', class_counts=f'{data_root}/iNaturalist18_train.txt')
test_evaluator = val_evaluator
