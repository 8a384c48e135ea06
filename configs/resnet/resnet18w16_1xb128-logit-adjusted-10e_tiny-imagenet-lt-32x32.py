"""Quarter-width ResNet-18 with logit-adjusted cross entropy (Menon et al., ICLR 2021) on Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-logit-adjusted-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='mmrecall.LogitAdjustedLoss', class_counts='auto', num_classes=200, tau=1.0)
    )
)
