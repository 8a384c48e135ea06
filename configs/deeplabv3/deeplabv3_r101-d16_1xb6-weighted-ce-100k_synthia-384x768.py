"""DeepLabV3 ResNet-101 with inverse-frequency cross entropy on SYNTHIA at 768x384.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Figure 2, right; no
figures in the text.

What differs from the authors' code, and why: deeplabv3_r18-d16_1xb6-weighted-ce-100k_synthia-384x768.py.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r101-d16_1xb6-weighted-ce-100k_synthia-384x768.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/synthia_384x768.py',
    '../_base_/models/deeplabv3_r101-d16.py',
    '../_base_/schedules/adam_100k.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(
        num_classes=13,
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='inverse_frequency',
            class_counts='auto',
            num_classes=13,
        ),
    ),
)
