"""SegNeXt-T (Guo et al., NeurIPS 2022) with the recall loss (Tian et al., ICRA 2022) on Cityscapes.

python tools/train.py configs/segnext/segnext_mscan-t_1xb8-recall-160k_cityscapes-1024x1024.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_1024x1024.py',
    '../_base_/models/segnext_mscan-t.py',
    '../_base_/schedules/adamw_160k.py',
    '../_base_/losses/recall.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19, loss_decode=_base_.pop('loss')),
)
