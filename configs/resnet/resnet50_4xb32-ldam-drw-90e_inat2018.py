"""ResNet-50 with LDAM-DRW (Cao et al., NeurIPS 2019) on iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-ldam-drw-90e_inat2018.py 4
"""

_base_ = './resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    head=dict(
        type='mmrecall.CosineClsHead',
        loss=dict(
            _delete_=True,
            type='mmrecall.LDAMLoss',
            class_counts='auto',
            max_margin=0.3,
            scale=30.0,
            class_weight='effective_number',
            beta=0.9999,
            num_classes=8142,
        ),
    ),
)
# the authors' schedule for this data set: the weights begin with the second step
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[30, 60], by_epoch=True, begin=0, end=90)
custom_hooks = [dict(type='mmrecall.DeferredReweightingHook', begin=60)]
