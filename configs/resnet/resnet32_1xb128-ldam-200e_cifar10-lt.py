"""ResNet-32 with LDAM (Cao et al., NeurIPS 2019) on CIFAR-10-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ldam-200e_cifar10-lt.py
"""

_base_ = './resnet32_1xb128-ce-200e_cifar10-lt.py'
model = dict(
    head=dict(
        type='mmrecall.CosineClsHead',
        loss=dict(_delete_=True, type='mmrecall.LDAMLoss', class_counts='auto', scale=30.0, num_classes=10),
    ),
)
