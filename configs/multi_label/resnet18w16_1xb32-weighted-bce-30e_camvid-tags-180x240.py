"""Quarter-width ResNet-18 with weights of the rare tags on the tags of CamVid's images.

A tag in fewer than half of the training images weighs negatives over positives: Pole, SignSymbol, Fence, Pedestrian and
Bicyclist, in 146, 142, 99, 79 and 27 of 367.

python tools/train.py configs/multi_label/resnet18w16_1xb32-weighted-bce-30e_camvid-tags-180x240.py
"""

_base_ = '../_base_/settings/resnet18w16_1xb32-30e_camvid-tags-180x240.py'
model = dict(
    head=dict(
        loss=dict(
            type='mmrecall.WeightedCrossEntropyLoss',
            use_sigmoid=True,
            class_weight=[1.0, 1.0, 1.5, 1.0, 1.0, 1.0, 1.6, 2.7, 1.0, 3.6, 12.6],
            num_classes=11,
            normalizer='all',
        )
    )
)
