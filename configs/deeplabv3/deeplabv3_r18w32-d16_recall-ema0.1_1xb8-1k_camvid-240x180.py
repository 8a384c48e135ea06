"""Ablation: the recall as a running mean, alpha=0.1, instead of the batch's own.

The earlier paper ("Recall Loss for Imbalanced Image Classification and Semantic Segmentation", section 3.3)
averages for classification alone; the segmentation paper takes the recall of the batch.

    python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_recall-ema0.1_1xb8-1k_camvid-240x180.py
"""

_base_ = './deeplabv3_r18w32-d16_recall_1xb8-1k_camvid-240x180.py'

model = dict(decode_head=dict(loss_decode=dict(alpha=0.1, num_classes=11)))
