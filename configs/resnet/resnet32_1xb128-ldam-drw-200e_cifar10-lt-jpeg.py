"""ResNet-32 with LDAM-DRW (Cao et al., NeurIPS 2019) on CIFAR-10-LT, as JPEG files.

python tools/train.py configs/resnet/resnet32_1xb128-ldam-drw-200e_cifar10-lt-jpeg.py
"""

_base_ = './resnet32_1xb128-ce-200e_cifar10-lt-jpeg.py'
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
            num_classes=10,
        ),
    ),
)
custom_hooks = [dict(type='mmrecall.DeferredReweightingHook', begin=160)]
