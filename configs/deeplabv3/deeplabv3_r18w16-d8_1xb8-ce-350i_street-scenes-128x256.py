"""Quarter-width DeepLabV3 ResNet-18 with cross entropy on the street scenes of `make demo`.

python tools/train.py configs/deeplabv3/deeplabv3_r18w16-d8_1xb8-ce-350i_street-scenes-128x256.py
"""

_base_ = [
    '../_base_/settings/deeplabv3_r18w16-d8_1xb8-350i_street-scenes-128x256.py',
    '../_base_/losses/cross_entropy.py',
]
model = dict(decode_head=dict(loss_decode=_base_.pop('loss')))
