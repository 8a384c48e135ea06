"""DeepLabV3 ResNet-18 with class-balanced cross entropy (Cui et al., CVPR 2019) on CamVid, full size, 3,000 iterations.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-balanced-ce-3k_camvid-360x480.py
"""

_base_ = './deeplabv3_r18-d16_1xb6-weighted-ce-3k_camvid-360x480.py'
model = dict(decode_head=dict(loss_decode=dict(class_weight='effective_number')))
