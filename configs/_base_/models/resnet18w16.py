"""ResNet-18 at a quarter of its width for 32x32 images: the stem keeps their size, the first stage halves it."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        stem_channels=16,
        base_channels=16,
        strides=(2, 2, 2, 2),
        out_indices=(3,),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=128, loss=dict(type='CrossEntropyLoss')),
)
