"""DeepLabV3 ResNet-18 with Lovász-Softmax (Berman et al., CVPR 2018) on Cityscapes, crops of 769x769.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-lovasz-90k_cityscapes-769x769.py
"""

_base_ = ['../_base_/settings/deeplabv3_r18-d16_1xb6-90k_cityscapes-769x769.py', '../_base_/losses/lovasz.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
