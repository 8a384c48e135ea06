"""DeepLabV3 ResNet-18 with cross entropy on SYNTHIA at 768x384.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table II, in %; the mean
of all classes is plotted in Figure 1:

                accuracy    IoU
    pole           98.87  97.62
    sign           77.42  70.76
    pedestrian     76.75  67.53
    bike            5.35   5.00
    car            77.86  68.98
    light          80.34  70.33
    average        63.54   56.5

The average is that of the classes whose IoU is below 80 with cross entropy: all of these but pole.

The mean is over the labelled pixels. What the authors' code does otherwise is in model and data: see their files in
`_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-ce-100k_synthia-384x768.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/synthia_384x768.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_100k.py',
    '../_base_/losses/cross_entropy.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=13, loss_decode=_base_.loss),
)
