"""Half-width DeepLabV3 ResNet-18 with the soft IoU loss (Rahman and Wang, ISVC 2016) on CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-softiou-1k_camvid-180x240.py
"""

_base_ = ['../_base_/settings/deeplabv3_r18w32-d16_1xb8-1k_camvid-180x240.py', '../_base_/losses/soft_iou.py']
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
