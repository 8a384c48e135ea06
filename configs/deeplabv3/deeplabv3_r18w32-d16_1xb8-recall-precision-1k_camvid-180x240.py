"""Ablation: every class of the cross entropy weighted by 1 - precision, with false positives in the weight.

Section III-C of the segmentation paper (Tian et al., ICRA 2022) says that then false positives explode.

    python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-precision-1k_camvid-180x240.py
"""

_base_ = './deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'

model = dict(decode_head=dict(loss_decode=dict(metric='precision')))
