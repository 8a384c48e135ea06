"""Quarter-width ResNet-18 with lifted structure loss (Oh Song et al., CVPR 2016) on CIFAR-10-LT.

python tools/train.py configs/resnet/resnet18w16_1xb128-lifted-10e_cifar10-lt.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.LiftedStructureLoss', loss_weight=0.1),
    )
)
