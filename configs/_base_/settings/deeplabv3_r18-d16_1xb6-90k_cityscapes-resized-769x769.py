"""DeepLabV3 ResNet-18 on Cityscapes resized to 769x769: everything but the loss."""

_base_ = [
    '../default_runtime_mmseg.py',
    '../datasets/cityscapes_resized_769x769.py',
    '../models/deeplabv3_r18-d16.py',
    '../schedules/adam_90k.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=19))
