"""scikit-learn's digits, long-tailed: ten classes, imbalance ratio 40, 8x8 grey images as files, shown at 16x16.

The demo `mmrecall demo-classification` writes them for itself. To train on them without it:

    mmrecall make-digits --out data/digits-lt
"""

# grey images are read as three equal channels
data_preprocessor = dict(num_classes=10, mean=[77.0] * 3, std=[83.0] * 3, to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=16),
    dict(type='RandomCrop', crop_size=16, padding=1),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]
dataset_type = 'mmrecall.LongTailList'
data_root = 'data/digits-lt'
# files this small are read faster than they are handed over by a worker
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    batch_size=32,
    # batch normalisation cannot take the one image that twelve batches leave over
    drop_last=True,
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='train.txt', pipeline=train_pipeline),
)
test_dataloader = dict(
    batch_size=250,
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='test.txt', pipeline=test_pipeline),
)
# there are too few images for a validation split
val_dataloader = test_dataloader
# the usual limits, 100 and 20, are for larger sets
val_evaluator = dict(type='mmrecall.ShotAccuracy', class_counts=f'{data_root}/train.txt', many=50, few=10)
test_evaluator = val_evaluator
