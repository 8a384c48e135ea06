"""Half-width DeepLabV3 ResNet-18 with OHEM (Shrivastava et al., CVPR 2016) on CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ohem-1k_camvid-180x240.py
"""

_base_ = ['../_base_/settings/deeplabv3_r18w32-d16_1xb8-1k_camvid-180x240.py', '../_base_/losses/ohem.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
