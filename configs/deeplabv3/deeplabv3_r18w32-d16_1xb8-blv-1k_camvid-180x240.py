"""Half-width DeepLabV3 ResNet-18 with balanced logit variation (Wang et al., CVPR 2023) on CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-blv-1k_camvid-180x240.py
"""

_base_ = '../_base_/settings/deeplabv3_r18w32-d16_1xb8-1k_camvid-180x240.py'
model = dict(
    decode_head=dict(
        loss_decode=dict(type='mmrecall.BalancedLogitVariationLoss', class_counts='auto', num_classes=11, sigma=4.0)
    )
)
