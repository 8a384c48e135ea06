"""Quarter-width ResNet-18, from scratch, on the tags of CamVid's images: everything but the loss."""

_base_ = [
    '../default_runtime_mmpretrain.py',
    '../datasets/camvid_tags_180x240.py',
    '../schedules/sgd_30e.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, stem_channels=16, base_channels=16, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='MultiLabelLinearClsHead', num_classes=11, in_channels=128),
)
