"""SegFormer-B0 (Xie et al., NeurIPS 2021) with the recall loss (Tian et al., ICRA 2022) on Cityscapes.

bash tools/dist_train.sh configs/segformer/segformer_mit-b0_8xb1-recall-160k_cityscapes-1024x1024.py 8
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_1024x1024.py',
    '../_base_/models/segformer_mit-b0.py',
    '../_base_/schedules/adamw_160k.py',
    '../_base_/losses/recall.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19, loss_decode=_base_.pop('loss')),
)
train_dataloader = dict(batch_size=1)
