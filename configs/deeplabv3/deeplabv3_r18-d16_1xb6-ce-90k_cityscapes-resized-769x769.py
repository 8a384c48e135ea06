"""DeepLabV3 ResNet-18 with cross entropy on Cityscapes resized to 769x769.

So says the text of Tian et al., "Striking the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022;
figures and the rest are in deeplabv3_r18-d16_1xb6-ce-90k_cityscapes-769x769.py, which crops as the authors' code
does.

Not trained by us: it needs a GPU, the data and ImageNet weights from the network.

    python tools/train.py configs/deeplabv3/deeplabv3_r18-d16_1xb6-ce-90k_cityscapes-resized-769x769.py
"""

_base_ = [
    '../_base_/default_runtime_mmseg.py',
    '../_base_/datasets/cityscapes_resized_769x769.py',
    '../_base_/models/deeplabv3_r18-d16.py',
    '../_base_/schedules/adam_90k.py',
    '../_base_/losses/cross_entropy.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19, loss_decode=_base_.loss),
)
