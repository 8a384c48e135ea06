"""SDN-CE (Simple Decoupled Network, Tian et al.) with ResNet-32 on CIFAR-100-LT.

python tools/train.py configs/sdn/sdn_resnet32_1xb128-ce-200e_cifar100-lt.py
"""

_base_ = '../resnet/resnet32_1xb128-ce-200e_cifar100-lt.py'
model = dict(
    head=dict(
        _delete_=True,
        type='mmrecall.SDNHead',
        num_classes=100,
        in_channels=64,
        feature_head=dict(loss=dict(type='CrossEntropyLoss')),
    ),
)
