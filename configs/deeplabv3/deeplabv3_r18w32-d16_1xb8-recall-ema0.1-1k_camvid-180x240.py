"""Ablation: the recall as a running mean, alpha=0.1, instead of the batch's own.

The earlier paper ("Recall Loss for Imbalanced Image Classification and Semantic Segmentation", section 3.3)
averages for classification alone; the segmentation paper takes the recall of the batch.

    python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-ema0.1-1k_camvid-180x240.py
"""

_base_ = './deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'

model = dict(decode_head=dict(loss_decode=dict(alpha=0.1, num_classes=11)))
