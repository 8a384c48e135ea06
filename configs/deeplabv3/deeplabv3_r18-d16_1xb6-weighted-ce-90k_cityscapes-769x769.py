"""DeepLabV3 ResNet-18 with cross entropy weighted by inverse class frequency on Cityscapes, crops of 769x769.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-weighted-ce-90k_cityscapes-769x769.py
"""

_base_ = '../_base_/settings/deeplabv3_r18-d16_1xb6-90k_cityscapes-769x769.py'
model = dict(
    decode_head=dict(
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='inverse_frequency',
            class_counts='auto',
            num_classes=19,
        )
    )
)
