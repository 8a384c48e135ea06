"""DeepLabV3 ResNet-18 from random weights on CamVid at full size: everything but the loss.

The test split is in the place of the validation: the validation clip is also in the training set, and the model that
is judged is the last one, so that nothing is chosen by the split.
"""

_base_ = [
    '../default_runtime_mmseg.py',
    '../datasets/camvid.py',
    '../models/deeplabv3_r18-d16.py',
    '../schedules/adam_poly_3k.py',
]
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(init_cfg=None, norm_cfg=norm_cfg),
    decode_head=dict(num_classes=11, norm_cfg=norm_cfg),
)
val_dataloader = dict(dataset=_base_.test_dataloader.dataset)
