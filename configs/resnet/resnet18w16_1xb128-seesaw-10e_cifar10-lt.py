"""A quarter-width ResNet-18 with mmpretrain's Seesaw loss (Wang et al., CVPR 2021) on CIFAR-10-LT.

Beware: it counts the classes that its own rank has seen. On several ranks each has other counts, and none of them is in
the checkpoint, so a resumed training starts to count anew. Its figures depend on the number of ranks.

    python tools/train.py configs/resnet/resnet18w16_1xb128-seesaw-10e_cifar10-lt.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(head=dict(loss=dict(_delete_=True, type='SeesawLoss', num_classes=10)))
