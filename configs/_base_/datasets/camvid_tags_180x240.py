"""CamVid's images with their tags: the classes that have at least 1 % of the pixels. 11 tags, 240x180 pixels.

To write the tags: mmrecall camvid-tags data/CamVid
"""

data_preprocessor = dict(
    num_classes=11,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
    to_onehot=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(240, 180)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(240, 180)),
    dict(type='PackInputs'),
]
dataset_type = 'MultiLabelDataset'
data_root = 'data/CamVid/'
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='train_tags.json', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='val_tags.json', pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='test_tags.json', pipeline=test_pipeline),
)
val_evaluator = [
    dict(type='AveragePrecision'),
    dict(type='MultiLabelMetric'),
    dict(type='MultiLabelMetric', average=None),
]
test_evaluator = val_evaluator
