"""A quarter-width DeepLabV3 ResNet-18 with the recall loss on made street scenes, for `make demo`.

python tools/train.py configs/deeplabv3/deeplabv3_r18w16-d8_1xb8-recall-350i_street-scenes-128x256.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/street_scenes_128x256.py',
    '../_base_/models/deeplabv3_r18w16-d8.py',
    '../_base_/schedules/adam_350i.py',
    '../_base_/losses/recall.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=13, loss_decode=_base_.loss),
)
