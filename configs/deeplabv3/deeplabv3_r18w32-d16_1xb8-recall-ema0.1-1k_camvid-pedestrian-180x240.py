"""Half-width DeepLabV3 ResNet-18 with a running recall, alpha 0.1, on pedestrians of CamVid at 240x180, one channel.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-ema0.1-1k_camvid-pedestrian-180x240.py
"""

_base_ = '../_base_/settings/deeplabv3_r18w32-d16_1xb8-1k_camvid-pedestrian-180x240.py'
model = dict(decode_head=dict(loss_decode=dict(type='mmrecall.RecallLoss', use_sigmoid=True, alpha=0.1, num_classes=1)))
