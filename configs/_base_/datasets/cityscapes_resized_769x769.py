"""Cityscapes resized to 769x769, without scaling and cropping.

Labels of the test stay at 2048x1024, and predictions are scaled up to them.
"""

_base_ = './cityscapes_769x769.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmrecall.LoadCheckedAnnotations', num_classes=19),
    dict(type='Resize', scale=(769, 769)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
# the label is loaded after the resize: it keeps its size
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(769, 769)),
    dict(type='mmrecall.LoadCheckedAnnotations', num_classes=19),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
