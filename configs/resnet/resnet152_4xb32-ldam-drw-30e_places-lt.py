"""ResNet-152 with LDAM-DRW (Cao et al., NeurIPS 2019) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ldam-drw-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
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
            num_classes=365,
        ),
    ),
)
custom_hooks = [dict(type='mmrecall.DeferredReweightingHook', begin=24)]
