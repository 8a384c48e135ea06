"""DeepLabV3 ResNet-18 with the focal loss on SYNTHIA at 768x384.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table II, in %; the mean
of all classes is plotted in Figure 1:

                accuracy    IoU
    pole           98.70  97.48
    sign           78.91  71.18
    pedestrian     79.70  67.53
    bike           20.14  14.89
    car            74.42  67.41
    light          80.09  69.42
    average        66.65  58.09

The average is that of the classes whose IoU is below 80 with cross entropy: all of these but pole.

The exponent gamma is 1 and each pixel has its own weight, as in the paper; the authors' code weights the mean loss of
the batch. Model and data: see their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-focal-100k_synthia-384x768.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/synthia_384x768.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_100k.py',
    '../_base_/losses/focal.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=13, loss_decode=_base_.loss),
)
