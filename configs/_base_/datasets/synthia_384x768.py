"""SYNTHIA-SEQS-05-SUMMER, 13 classes, resized to 768x384: 4,400 frames to train, 624 to validate, 1,272 to test.

To write the lists of the split: mmrecall synthia-lists data/SYNTHIA --sequences SYNTHIA-SEQS-05-SUMMER
"""

dataset_type = 'mmrecall.SynthiaSequenceDataset'
data_root = 'data/SYNTHIA/'
crop_size = (384, 768)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmrecall.LoadSynthiaAnnotations'),
    dict(type='Resize', scale=(768, 384)),
    dict(type='PackSegInputs'),
]
# the label is loaded after the resize: it keeps its size, and predictions are scaled up to it
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(768, 384)),
    dict(type='mmrecall.LoadSynthiaAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='train.txt', data_prefix=dict(), pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='val.txt', data_prefix=dict(), pipeline=test_pipeline
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='test.txt', data_prefix=dict(), pipeline=test_pipeline
    ),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
