"""ResNet-32 with focal loss (Lin et al., ICCV 2017) on CIFAR-10-LT.

python tools/train.py configs/resnet/resnet32_1xb128-focal-200e_cifar10-lt.py
"""

_base_ = './resnet32_1xb128-ce-200e_cifar10-lt.py'
model = dict(head=dict(loss=dict(_delete_=True, type='mmrecall.SoftmaxFocalLoss', gamma=1.0)))
