"""Quarter-width ResNet-18 with range loss (Zhang et al., ICCV 2017) on Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-range-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.RangeLoss', loss_weight=0.0001),
    )
)
