"""SDN-recall (Simple Decoupled Network, Tian et al.) with a quarter-width ResNet-18 on CIFAR-10-LT.

python tools/train.py configs/sdn/sdn_resnet18w16_1xb128-recall-ema0.01-10e_cifar10-lt.py
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(head=dict(_delete_=True, type='mmrecall.SDNHead', num_classes=10, in_channels=128, alpha=0.01))
