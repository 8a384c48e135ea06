"""DeepLabV3 ResNet-18 with the soft IoU loss (Rahman and Wang, ISVC 2016) on CamVid at full size, 3,000 iterations.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-softiou-3k_camvid-360x480.py
"""

_base_ = ['../_base_/settings/deeplabv3_r18-d16_1xb6-3k_camvid-360x480.py', '../_base_/losses/soft_iou.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
