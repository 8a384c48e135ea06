"""Quarter-width ResNet-18 with balanced softmax (Ren et al., NeurIPS 2020) on Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-balanced-softmax-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='mmrecall.BalancedSoftmaxLoss', class_counts='auto', num_classes=200))
)
