"""SegNeXt-T with the recall loss on Cityscapes; mmseg has the model on ADE20K alone.

Schedule and crops are SegFormer's. Not trained by us: it needs a GPU, the data and weights from the network.

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
    decode_head=dict(num_classes=19, loss_decode=_base_.loss),
)
