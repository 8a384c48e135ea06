"""DeepLabV3 ResNet-18 with cross entropy weighted by inverse class frequency on CamVid at full size, 3,000 iterations.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-weighted-ce-3k_camvid-360x480.py
"""

_base_ = '../_base_/settings/deeplabv3_r18-d16_1xb6-3k_camvid-360x480.py'
model = dict(
    decode_head=dict(
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='inverse_frequency',
            class_counts='auto',
            num_classes=11,
        )
    )
)
