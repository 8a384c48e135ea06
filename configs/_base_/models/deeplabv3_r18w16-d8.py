"""DeepLabV3 on a ResNet-18 of a quarter of the width, output stride 8, from scratch, for the demo on a CPU."""

_base_ = './deeplabv3_r18-d16.py'

# SyncBN needs a GPU when there are several ranks
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        stem_channels=16,
        base_channels=16,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_cfg=norm_cfg,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=128, channels=64, norm_cfg=norm_cfg),
)
