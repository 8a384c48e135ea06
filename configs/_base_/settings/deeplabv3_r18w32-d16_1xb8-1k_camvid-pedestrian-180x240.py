"""Half-width DeepLabV3 ResNet-18 on pedestrians of CamVid at 240x180, one channel: everything but the loss."""

_base_ = [
    '../default_runtime_mmseg.py',
    '../datasets/camvid_pedestrian_180x240.py',
    '../models/deeplabv3_r18w32-d16.py',
    '../schedules/adam_1k.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    # The default of mmseg is 0.3. The loss predicts label 1 where the sigmoid is above 0.5.
    decode_head=dict(num_classes=2, out_channels=1, threshold=0.5),
)
