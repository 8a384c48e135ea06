"""DeepLabV3 ResNet-18 with the recall loss on Cityscapes, crops of 769x769.

Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022, Table III, in %; the mean
of all classes is plotted in Figure 2, left:

                accuracy    IoU
    person         88.31  69.06
    wall           72.16  57.92
    fence          75.55  52.50
    pole           69.17  44.67
    light          80.00  54.64
    terrain        70.12  57.44
    rider          75.26  51.14
    motorcycle     83.04  41.11
    average        75.06  53.36

The average is that of the classes whose IoU is below 80 with cross entropy, not all of them in the table.

Recall of the batch, mean over the labelled pixels; the authors' code never lets a class in the batch weigh nothing,
and divides by all pixels (here `fn_floor=1` and `normalizer='all'`); equation 5 has neither. As published, it stops
at the first unlabelled pixel. Model and data: see their files in `_base_`.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-recall-90k_cityscapes-769x769.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_769x769.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_90k.py',
    '../_base_/losses/recall.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19, loss_decode=_base_.loss),
)
