"""ResNet-32 with balanced softmax (Ren et al., NeurIPS 2020) on CIFAR-10-LT.

python tools/train.py configs/resnet/resnet32_1xb128-balanced-softmax-200e_cifar10-lt.py
"""

_base_ = './resnet32_1xb128-ce-200e_cifar10-lt.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='mmrecall.BalancedSoftmaxLoss', class_counts='auto', num_classes=10))
)
