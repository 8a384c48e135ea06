"""DeepLabV3 ResNet-101 with the recall loss (Tian et al., ICRA 2022) on Cityscapes, crops of 769x769.

python tools/train.py configs/deeplabv3/deeplabv3_r101-d16_1xb6-recall-90k_cityscapes-769x769.py
"""

_base_ = ['../_base_/settings/deeplabv3_r101-d16_1xb6-90k_cityscapes-769x769.py', '../_base_/losses/recall.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
