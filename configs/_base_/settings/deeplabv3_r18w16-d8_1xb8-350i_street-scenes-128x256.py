"""Quarter-width DeepLabV3 ResNet-18 on the street scenes of `make demo`: everything but the loss."""

_base_ = [
    '../default_runtime_mmseg.py',
    '../datasets/street_scenes_128x256.py',
    '../models/deeplabv3_r18w16-d8.py',
    '../schedules/adam_350i.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=13))
