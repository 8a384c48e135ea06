"""DeepLabV3 ResNet-18 with the soft IoU loss on Cityscapes, crops of 769x769.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table III, in %; the mean
of all classes is plotted in Figure 2, left:

                accuracy    IoU
    person         85.00  72.93
    wall           61.23  46.70
    fence          68.11  51.92
    pole           57.70  45.36
    light          79.15  60.41
    terrain        72.53  57.41
    rider          71.51  54.39
    motorcycle     68.57  44.91
    average        68.03  46.34

The average is that of the classes whose IoU is below 80 with cross entropy, not all of them in the table.

Intersection and union are those of the whole batch, over the classes in it; the authors' code averages over images
and classes, absent classes, which have no IoU, included. Model and data: see their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-softiou-90k_cityscapes-769x769.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_769x769.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_90k.py',
    '../_base_/losses/soft_iou.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19, loss_decode=_base_.loss),
)
