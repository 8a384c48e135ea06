"""DeepLabV3 ResNet-18 with the recall loss on SYNTHIA at 768x384.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table II, in %; the mean
of all classes is plotted in Figure 1:

                accuracy    IoU
    pole           98.28  97.37
    sign           83.94  71.40
    pedestrian     87.37  67.30
    bike           72.69  24.80
    car            89.19  66.81
    light          87.24  71.10
    average        84.09  60.28

The average is that of the classes whose IoU is below 80 with cross entropy: all of these but pole.

Recall of the batch, mean over the labelled pixels; the authors' code never lets a class in the batch weigh nothing,
and divides by all pixels (here `fn_floor=1` and `normalizer='all'`); equation 5 has neither. Model and data: see
their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-recall-100k_synthia-384x768.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/synthia_384x768.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_100k.py',
    '../_base_/losses/recall.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=13, loss_decode=_base_.loss),
)
