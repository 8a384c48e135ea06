"""Quarter-width ResNet-18 with a running recall, alpha 0.1, on the tags of CamVid's images.

python tools/train.py configs/multi_label/resnet18w16_1xb32-recall-ema0.1-30e_camvid-tags-180x240.py
"""

_base_ = '../_base_/settings/resnet18w16_1xb32-30e_camvid-tags-180x240.py'
model = dict(
    head=dict(loss=dict(type='mmrecall.RecallLoss', use_sigmoid=True, alpha=0.1, num_classes=11, normalizer='all'))
)
