"""Quarter-width ResNet-18 with cross entropy on Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/tiny_imagenet_lt_32.py',
    '../_base_/models/resnet18w16.py',
    '../_base_/schedules/sgd_10e.py',
]
model = dict(head=dict(num_classes=200))
