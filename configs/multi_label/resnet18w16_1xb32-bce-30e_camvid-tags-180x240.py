"""Quarter-width ResNet-18 with binary cross entropy on the tags of CamVid's images, mmpretrain's own.

python tools/train.py configs/multi_label/resnet18w16_1xb32-bce-30e_camvid-tags-180x240.py
"""

_base_ = '../_base_/settings/resnet18w16_1xb32-30e_camvid-tags-180x240.py'
model = dict(head=dict(loss=dict(type='CrossEntropyLoss', use_sigmoid=True)))
