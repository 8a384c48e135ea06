"""DeepLabV3 ResNet-18 with the recall loss, a running mean with alpha 0.1, on CamVid at full size, 3,000 iterations.

python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-recall-ema0.1-3k_camvid-360x480.py
"""

_base_ = './deeplabv3_r18-d16_1xb6-recall-3k_camvid-360x480.py'
model = dict(decode_head=dict(loss_decode=dict(alpha=0.1, num_classes=11)))
