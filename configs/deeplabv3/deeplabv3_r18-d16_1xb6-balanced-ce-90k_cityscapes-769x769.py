"""DeepLabV3 ResNet-18 with class-balanced cross entropy on Cityscapes, crops of 769x769.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table III, in %; the mean
of all classes is plotted in Figure 2, left:

                accuracy    IoU
    person         90.07  66.48
    wall           61.43  45.46
    fence          81.13  45.82
    pole           71.12  40.16
    light          93.36  36.58
    terrain        83.01  48.66
    rider          77.90  47.62
    motorcycle     84.43  38.63
    average        80.88  29.58

The average is that of the classes whose IoU is below 80 with cross entropy, not all of them in the table.

The weights are those of Cui et al. (CVPR 2019) with beta = (N-1)/N over the whole training set, the mean is weighted;
the authors' code has the same formula, but counts in the first image of each validation batch. Model and data: see
their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-balanced-ce-90k_cityscapes-769x769.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_769x769.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_90k.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(
        num_classes=19,
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            num_classes=19,
        ),
    ),
)
