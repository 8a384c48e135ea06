"""DeepLabV3 on ResNet-101, output stride 16, no auxiliary head; a config adds the loss."""

_base_ = './deeplabv3_r18-d16.py'

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')),
    decode_head=dict(in_channels=2048),
)
