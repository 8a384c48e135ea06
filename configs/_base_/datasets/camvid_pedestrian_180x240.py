"""Pedestrians of CamVid against the rest, at half the size: labels 0 and 1."""

_base_ = './camvid_180x240.py'

dataset_type = 'mmrecall.CamVidPedestrianDataset'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmrecall.LoadCheckedAnnotations', num_classes=2),
    dict(type='Resize', scale=(240, 180)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
# the label is loaded after the resize: it keeps its size, and predictions are scaled up to it
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(240, 180)),
    dict(type='mmrecall.LoadCheckedAnnotations', num_classes=2),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(type=dataset_type, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
val_evaluator = dict(iou_metrics=['mIoU', 'mFscore'])
test_evaluator = val_evaluator
