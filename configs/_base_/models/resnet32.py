"""ResNet-32 for 32x32 images, 0.46 million weights (He et al., CVPR 2016, section 4.2), with one linear classifier."""

model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmrecall.CifarResNet', depth=32),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=64, loss=dict(type='CrossEntropyLoss')),
)
