"""Quarter-width ResNet-18 with LDAM-DRW (Cao et al., NeurIPS 2019) on Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-ldam-drw-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = './resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    head=dict(
        type='mmrecall.CosineClsHead',
        loss=dict(
            _delete_=True,
            type='mmrecall.LDAMLoss',
            class_counts='auto',
            scale=30.0,
            class_weight='effective_number',
            beta=0.9999,
            num_classes=200,
        ),
    ),
)
custom_hooks = [dict(type='mmrecall.DeferredReweightingHook', begin=8)]
