"""Ablation of the recall loss (Tian et al., ICRA 2022): a running mean of the recall with alpha 0.1, on CamVid.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-ema0.1-1k_camvid-180x240.py
"""

_base_ = './deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'
model = dict(decode_head=dict(loss_decode=dict(alpha=0.1, num_classes=11)))
