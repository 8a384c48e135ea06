"""ResNet-152, pretrained on ImageNet, with one linear classifier."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet',
        depth=152,
        out_indices=(3,),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=2048, loss=dict(type='CrossEntropyLoss'), topk=(1, 5)),
)
