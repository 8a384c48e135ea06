"""DeepLabV3 ResNet-18 on SYNTHIA at 768x384: everything but the loss."""

_base_ = [
    '../default_runtime_mmseg.py',
    '../datasets/synthia_384x768.py',
    '../models/deeplabv3_r18-d16.py',
    '../schedules/adam_100k.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=13))
