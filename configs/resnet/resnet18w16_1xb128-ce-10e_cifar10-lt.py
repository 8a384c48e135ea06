"""Quarter-width ResNet-18 with cross entropy on CIFAR-10-LT.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet18w16.py',
    '../_base_/schedules/sgd_10e.py',
]
model = dict(head=dict(num_classes=10))
