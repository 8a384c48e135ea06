"""ResNet-32 with cross entropy and deferred class weights (DRW; Cao et al., NeurIPS 2019) on CIFAR-10-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ce-drw-200e_cifar10-lt.py
"""

_base_ = './resnet32_1xb128-class-balanced-200e_cifar10-lt.py'
custom_hooks = [dict(type='mmrecall.DeferredReweightingHook', begin=160)]
