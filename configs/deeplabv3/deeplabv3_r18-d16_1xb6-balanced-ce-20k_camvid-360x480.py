"""DeepLabV3 ResNet-18 with class-balanced cross entropy on CamVid, full size.

The papers do not train on CamVid. Not trained by us: it needs a GPU and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-balanced-ce-20k_camvid-360x480.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/camvid.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_20k.py',
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
