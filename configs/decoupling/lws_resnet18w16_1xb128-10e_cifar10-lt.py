"""Learnable weight scaling (LWS; Kang et al., ICLR 2020) on a quarter-width ResNet-18, CIFAR-10-LT.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py
python tools/train.py configs/decoupling/lws_resnet18w16_1xb128-10e_cifar10-lt.py
"""

_base_ = './crt_resnet18w16_1xb128-10e_cifar10-lt.py'
model = dict(head=dict(type='mmrecall.LWSHead'))
