"""A half-width DeepLabV3 ResNet-18 with class-balanced cross entropy on CamVid at 240x180: minutes on two cores.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-balanced-ce-1k_camvid-180x240.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/camvid_180x240.py',
    '../_base_/models/deeplabv3_r18w32-d16.py',
    '../_base_/schedules/adam_1k.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(
        num_classes=11,
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            num_classes=11,
        ),
    ),
)
