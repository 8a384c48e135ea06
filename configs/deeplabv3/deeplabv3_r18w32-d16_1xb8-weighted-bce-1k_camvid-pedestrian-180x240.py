"""Half-width DeepLabV3 ResNet-18 with cross entropy weighted by inverse frequency on pedestrians of CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-weighted-bce-1k_camvid-pedestrian-180x240.py
"""

_base_ = '../_base_/settings/deeplabv3_r18w32-d16_1xb8-1k_camvid-pedestrian-180x240.py'
model = dict(
    decode_head=dict(
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='inverse_frequency',
            class_counts='auto',
            num_classes=1,
            use_sigmoid=True,
        )
    )
)
