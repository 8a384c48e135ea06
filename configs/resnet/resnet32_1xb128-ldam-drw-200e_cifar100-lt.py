"""ResNet-32 with LDAM-DRW (Cao et al., NeurIPS 2019) on CIFAR-100-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ldam-drw-200e_cifar100-lt.py
"""

_base_ = './resnet32_1xb128-ldam-200e_cifar100-lt.py'
model = dict(head=dict(loss=dict(class_weight='effective_number', beta=0.9999)))
custom_hooks = [dict(type='mmrecall.DeferredReweightingHook', begin=160)]
