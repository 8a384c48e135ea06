"""Learnable weight scaling (LWS; Kang et al., ICLR 2020) on ResNet-32, CIFAR-100-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ce-200e_cifar100-lt.py
python tools/train.py configs/decoupling/lws_resnet32_1xb128-30e_cifar100-lt.py
"""

_base_ = './crt_resnet32_1xb128-30e_cifar100-lt.py'
model = dict(head=dict(type='mmrecall.LWSHead'))
