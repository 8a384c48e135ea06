"""ResNet-32 with cross entropy on CIFAR-10-LT, as JPEG files.

python tools/train.py configs/resnet/resnet32_1xb128-ce-200e_cifar10-lt-jpeg.py
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/sgd_200e.py',
]
model = dict(head=dict(num_classes=10))
train_dataloader = dict(num_workers=4)
val_dataloader = dict(num_workers=4)
test_dataloader = dict(num_workers=4)
