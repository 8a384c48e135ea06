"""ResNet-32 with cross entropy on CIFAR-100-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ce-200e_cifar100-lt.py
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/cifar100_lt_archive.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/sgd_200e.py',
]
model = dict(head=dict(num_classes=100))
