"""DeepLabV3 ResNet-101 with Lovász-Softmax (Berman et al., CVPR 2018) on SYNTHIA at 768x384.

python tools/train.py configs/deeplabv3/deeplabv3_r101-d16_1xb6-lovasz-100k_synthia-384x768.py
"""

_base_ = ['../_base_/settings/deeplabv3_r101-d16_1xb6-100k_synthia-384x768.py', '../_base_/losses/lovasz.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
