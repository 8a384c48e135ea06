"""Quarter-width ResNet-18 with mmpretrain's Seesaw loss (Wang et al., CVPR 2021) on Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-seesaw-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
# every rank counts its classes alone, and a resumed training counts anew
model = dict(head=dict(loss=dict(_delete_=True, type='SeesawLoss', num_classes=200)))
