"""Ablation of the recall loss (Tian et al., ICRA 2022): weights of 1 - precision, on CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-precision-1k_camvid-180x240.py
"""

_base_ = './deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'
model = dict(decode_head=dict(loss_decode=dict(metric='precision')))
