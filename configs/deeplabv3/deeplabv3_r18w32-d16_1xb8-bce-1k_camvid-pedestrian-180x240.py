"""Half-width DeepLabV3 ResNet-18 with binary cross entropy on pedestrians of CamVid at 240x180, one channel.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-bce-1k_camvid-pedestrian-180x240.py
"""

_base_ = '../_base_/settings/deeplabv3_r18w32-d16_1xb8-1k_camvid-pedestrian-180x240.py'
model = dict(decode_head=dict(loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)))
