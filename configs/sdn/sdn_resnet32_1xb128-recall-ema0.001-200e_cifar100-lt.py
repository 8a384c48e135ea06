"""SDN-recall (Simple Decoupled Network, Tian et al.) with ResNet-32 on CIFAR-100-LT.

python tools/train.py configs/sdn/sdn_resnet32_1xb128-recall-ema0.001-200e_cifar100-lt.py
"""

_base_ = '../resnet/resnet32_1xb128-ce-200e_cifar100-lt.py'
model = dict(head=dict(_delete_=True, type='mmrecall.SDNHead', num_classes=100, in_channels=64, alpha=0.001))
