"""Half-width DeepLabV3 ResNet-18 with cross entropy and rare-class sampling on CamVid at 240x180.

python tools/train.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-rare-class-sampling-1k_camvid-180x240.py

Hoyer et al., DAFormer, CVPR 2022, draw images that hold more than 3000 pixels of a class, at 2048x1024. min_pixels
counts the pixels of the label files: 3000 * 480 * 360 / (2048 * 1024) = 247, which are 62 of the 240x180 that are
trained on.
"""

_base_ = './deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py'
train_dataloader = dict(
    sampler=dict(type='mmrecall.RareClassSampler', min_pixels=247, endless=True, _delete_=True),
)
