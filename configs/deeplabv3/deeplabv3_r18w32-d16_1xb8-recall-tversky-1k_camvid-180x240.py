"""Ablation: every class of the cross entropy weighted by 1 - the Tversky index, with false positives in the weight.

Section III-C of the segmentation paper (Tian et al., ICRA 2022) says that then false positives explode.

False positives count 0.7 and false negatives 0.3: with equal halves the index is F1.

    python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-tversky-1k_camvid-180x240.py
"""

_base_ = './deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'

model = dict(decode_head=dict(loss_decode=dict(metric='tversky', tversky_weights=(0.7, 0.3))))
