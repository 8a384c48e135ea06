"""DeepLabV3 ResNet-18 with OHEM (Shrivastava et al., CVPR 2016) on CamVid at full size, 3,000 iterations.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-ohem-3k_camvid-360x480.py
"""

_base_ = ['../_base_/settings/deeplabv3_r18-d16_1xb6-3k_camvid-360x480.py', '../_base_/losses/ohem.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
