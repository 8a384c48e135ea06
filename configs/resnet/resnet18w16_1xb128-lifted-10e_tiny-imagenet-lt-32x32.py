"""A quarter-width ResNet-18 with cross entropy and the lifted structure loss on Tiny-ImageNet-LT at 32x32.

Oh Song et al., "Deep metric learning via lifted structured feature embedding", CVPR 2016.
No figures are published for this data set.

    python tools/train.py configs/resnet/resnet18w16_1xb128-lifted-10e_tiny-imagenet-lt-32x32.py

Images are drawn uniformly: a batch has 95 pairs of one class on average, of 32 of the 200 classes, and at least 60 in
2,000 draws. The weight is the one of CIFAR-10-LT.
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.LiftedStructureLoss', loss_weight=0.1),
    )
)
