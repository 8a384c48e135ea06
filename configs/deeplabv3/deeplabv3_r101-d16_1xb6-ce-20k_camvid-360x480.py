"""DeepLabV3 ResNet-101 with cross entropy on CamVid at full size.

python tools/train.py configs/deeplabv3/deeplabv3_r101-d16_1xb6-ce-20k_camvid-360x480.py
"""

_base_ = ['../_base_/settings/deeplabv3_r101-d16_1xb6-20k_camvid-360x480.py', '../_base_/losses/cross_entropy.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
