"""Quarter-width ResNet-18 with class-balanced cross entropy (Cui et al., CVPR 2019) on Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-class-balanced-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            beta=0.9999,
            num_classes=200,
        )
    )
)
