"""DeepLabV3 ResNet-101 with cross entropy weighted by inverse class frequency on SYNTHIA at 768x384.

python tools/train.py configs/deeplabv3/deeplabv3_r101-d16_1xb6-weighted-ce-100k_synthia-384x768.py
"""

_base_ = '../_base_/settings/deeplabv3_r101-d16_1xb6-100k_synthia-384x768.py'
model = dict(
    decode_head=dict(
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='inverse_frequency',
            class_counts='auto',
            num_classes=13,
        )
    )
)
