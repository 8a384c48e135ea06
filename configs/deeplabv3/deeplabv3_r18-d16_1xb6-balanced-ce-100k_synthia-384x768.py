"""DeepLabV3 ResNet-18 with class-balanced cross entropy on SYNTHIA at 768x384.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table II, in %; the mean
of all classes is plotted in Figure 1:

                accuracy    IoU
    pole           98.74  96.98
    sign           94.68  50.75
    pedestrian     94.28  54.44
    bike           97.80   9.30
    car            92.92  51.93
    light          98.31  50.66
    average        95.60  43.41

The average is that of the classes whose IoU is below 80 with cross entropy: all of these but pole.

The weights are those of Cui et al. (CVPR 2019) with beta = (N-1)/N over the whole training set, the mean is weighted;
the authors' code has the same formula, but counts in the first image of each validation batch. Model and data: see
their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-balanced-ce-100k_synthia-384x768.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/synthia_384x768.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_100k.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(
        num_classes=13,
        loss_decode=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            num_classes=13,
        ),
    ),
)
