"""Learnable weight scaling (LWS; Kang et al., ICLR 2020) on a quarter-width ResNet-18, Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py
python tools/train.py configs/decoupling/lws_resnet18w16_1xb128-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = './crt_resnet18w16_1xb128-10e_tiny-imagenet-lt-32x32.py'
model = dict(head=dict(type='mmrecall.LWSHead'))
