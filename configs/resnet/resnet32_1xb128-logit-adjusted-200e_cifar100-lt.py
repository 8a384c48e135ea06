"""ResNet-32 with logit-adjusted cross entropy (Menon et al., ICLR 2021) on CIFAR-100-LT.

python tools/train.py configs/resnet/resnet32_1xb128-logit-adjusted-200e_cifar100-lt.py
"""

_base_ = './resnet32_1xb128-ce-200e_cifar100-lt.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='mmrecall.LogitAdjustedLoss', class_counts='auto', num_classes=100, tau=1.0)
    )
)
