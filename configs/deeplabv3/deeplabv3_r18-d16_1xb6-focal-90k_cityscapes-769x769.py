"""DeepLabV3 ResNet-18 with the focal loss on Cityscapes, crops of 769x769.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table III, in %; the mean
of all classes is plotted in Figure 2, left:

                accuracy    IoU
    person         85.24  70.58
    wall           55.30  47.91
    fence          71.04  55.89
    pole           56.26  45.33
    light          69.02  56.18
    terrain        67.33  60.02
    rider          66.34  50.66
    motorcycle     71.50  55.17
    average        63.38  51.63

The average is that of the classes whose IoU is below 80 with cross entropy, not all of them in the table.

The exponent gamma is 1 and each pixel has its own weight, as in the paper; the authors' code weights the mean loss of
the batch. Model and data: see their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-focal-90k_cityscapes-769x769.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_769x769.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_90k.py',
    '../_base_/losses/focal.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19, loss_decode=_base_.loss),
)
