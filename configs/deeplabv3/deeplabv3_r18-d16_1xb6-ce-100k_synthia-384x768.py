"""DeepLabV3 ResNet-18 with cross entropy on SYNTHIA at 768x384.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-ce-100k_synthia-384x768.py
"""

_base_ = ['../_base_/settings/deeplabv3_r18-d16_1xb6-100k_synthia-384x768.py', '../_base_/losses/cross_entropy.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
