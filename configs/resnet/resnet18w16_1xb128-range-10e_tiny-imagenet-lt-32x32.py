"""A quarter-width ResNet-18 with cross entropy and the range loss on Tiny-ImageNet-LT at 32x32.

Zhang et al., "Range loss for deep face recognition with long-tailed training data", ICCV 2017.
No figures are published for this data set.

    python tools/train.py configs/resnet/resnet18w16_1xb128-range-10e_tiny-imagenet-lt-32x32.py

Images are drawn uniformly: a batch has 95 pairs of one class on average, of 32 of the 200 classes, and at least 60 in
2,000 draws. The weight is the one of CIFAR-10-LT.
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.RangeLoss', loss_weight=0.0001),
    )
)
