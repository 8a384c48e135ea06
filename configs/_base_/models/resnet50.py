"""ResNet-50 from scratch with one linear classifier."""

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=50, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=2048, loss=dict(type='CrossEntropyLoss'), topk=(1, 5)),
)
