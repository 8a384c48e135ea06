"""DeepLabV3 ResNet-18 with cross entropy on Cityscapes, crops of 769x769.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table III, in %; the mean
of all classes is plotted in Figure 2, left:

                accuracy    IoU
    person         82.98  71.31
    wall           69.60  55.23
    fence          65.63  55.88
    pole           58.93  45.75
    light          76.76  57.54
    terrain        62.87  57.14
    rider          70.16  53.49
    motorcycle     67.01  55.77
    average        67.63  55.23

The average is that of the classes whose IoU is below 80 with cross entropy, not all of them in the table.

The mean is over the labelled pixels. What the authors' code does otherwise is in model and data: see their files in
`_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-ce-90k_cityscapes-769x769.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_769x769.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_90k.py',
    '../_base_/losses/cross_entropy.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19, loss_decode=_base_.loss),
)
