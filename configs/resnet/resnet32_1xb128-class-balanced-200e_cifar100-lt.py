"""ResNet-32 with class-balanced cross entropy (Cui et al., CVPR 2019) on CIFAR-100-LT.

python tools/train.py configs/resnet/resnet32_1xb128-class-balanced-200e_cifar100-lt.py
"""

_base_ = './resnet32_1xb128-ce-200e_cifar100-lt.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            beta=0.9999,
            num_classes=100,
        )
    )
)
