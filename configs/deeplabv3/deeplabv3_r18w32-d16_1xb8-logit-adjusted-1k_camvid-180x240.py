"""Half-width DeepLabV3 ResNet-18 with logit-adjusted cross entropy (Menon et al., ICLR 2021) on CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-logit-adjusted-1k_camvid-180x240.py
"""

_base_ = '../_base_/settings/deeplabv3_r18w32-d16_1xb8-1k_camvid-180x240.py'
model = dict(
    decode_head=dict(loss_decode=dict(type='mmrecall.LogitAdjustedLoss', class_counts='auto', num_classes=11, tau=1.0))
)
