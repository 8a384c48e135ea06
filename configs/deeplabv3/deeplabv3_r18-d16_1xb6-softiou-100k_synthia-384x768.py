"""DeepLabV3 ResNet-18 with the soft IoU loss on SYNTHIA at 768x384.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table II, in %; the mean
of all classes is plotted in Figure 1:

                accuracy    IoU
    pole           98.59  97.20
    sign           82.22  75.70
    pedestrian     82.37  70.79
    bike           50.38   7.07
    car            79.62  69.38
    light          86.29  75.94
    average        76.18  59.77

The average is that of the classes whose IoU is below 80 with cross entropy: all of these but pole.

Intersection and union are those of the whole batch, over the classes in it; the authors' code averages over images
and classes, absent classes, which have no IoU, included. Model and data: see their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-softiou-100k_synthia-384x768.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/synthia_384x768.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_100k.py',
    '../_base_/losses/soft_iou.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=13, loss_decode=_base_.loss),
)
