"""DeepLabV3 on a ResNet-18 of half the width, from scratch, for CPUs."""

_base_ = './deeplabv3_r18-d16.py'

# SyncBN needs a GPU when there are several ranks
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(stem_channels=32, base_channels=32, norm_cfg=norm_cfg, init_cfg=None),
    decode_head=dict(in_channels=256, channels=64, norm_cfg=norm_cfg),
)
