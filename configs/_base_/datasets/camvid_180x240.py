"""CamVid at half its size, for CPUs; labels of the test stay at 480x360."""

_base_ = './camvid.py'

crop_size = (180, 240)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmrecall.LoadCheckedAnnotations', num_classes=11),
    dict(type='Resize', scale=(240, 180)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
# the label is loaded after the resize: it keeps its size, and predictions are scaled up to it
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(240, 180)),
    dict(type='mmrecall.LoadCheckedAnnotations', num_classes=11),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=8, num_workers=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=2, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(num_workers=2, dataset=dict(pipeline=test_pipeline))
