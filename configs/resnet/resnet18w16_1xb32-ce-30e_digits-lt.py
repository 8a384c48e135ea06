"""Quarter-width ResNet-18 with cross entropy on the long-tailed digits.

python tools/train.py configs/resnet/resnet18w16_1xb32-ce-30e_digits-lt.py
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet18w16.py',
    '../_base_/schedules/sgd_30e.py',
]
model = dict(head=dict(num_classes=10))
