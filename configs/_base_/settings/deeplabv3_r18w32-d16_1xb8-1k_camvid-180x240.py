"""Half-width DeepLabV3 ResNet-18 on CamVid at 240x180: everything but the loss."""

_base_ = [
    '../default_runtime_mmseg.py',
    '../datasets/camvid_180x240.py',
    '../models/deeplabv3_r18w32-d16.py',
    '../schedules/adam_1k.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=11))
