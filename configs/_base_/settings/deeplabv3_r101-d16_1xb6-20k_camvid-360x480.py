"""DeepLabV3 ResNet-101 on CamVid at full size: everything but the loss."""

_base_ = [
    '../default_runtime_mmseg.py',
    '../datasets/camvid.py',
    '../models/deeplabv3_r101-d16.py',
    '../schedules/adam_20k.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=11))
