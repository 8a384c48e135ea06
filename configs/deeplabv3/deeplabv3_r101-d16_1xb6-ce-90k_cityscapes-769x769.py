"""DeepLabV3 ResNet-101 with cross entropy on Cityscapes, crops of 769x769.

python tools/train.py configs/deeplabv3/deeplabv3_r101-d16_1xb6-ce-90k_cityscapes-769x769.py
"""

_base_ = ['../_base_/settings/deeplabv3_r101-d16_1xb6-90k_cityscapes-769x769.py', '../_base_/losses/cross_entropy.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
