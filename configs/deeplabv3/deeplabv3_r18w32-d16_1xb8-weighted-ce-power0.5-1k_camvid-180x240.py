"""Half-width DeepLabV3 ResNet-18 with cross entropy weighted by 1 / sqrt(class frequency) on CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-weighted-ce-power0.5-1k_camvid-180x240.py
"""

_base_ = './deeplabv3_r18w32-d16_1xb8-weighted-ce-1k_camvid-180x240.py'
model = dict(decode_head=dict(loss_decode=dict(power=0.5)))
