"""ResNet-152 with LDAM-DRW (Cao et al., NeurIPS 2019) on Places-LT.

As its authors train: a cosine classifier with scale 30, and class weights for the last part of the training, here from
epoch 24 of 30 on.

Not trained by us: it needs GPUs.

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
