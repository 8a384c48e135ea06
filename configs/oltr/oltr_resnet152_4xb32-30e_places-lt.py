"""Open long-tailed recognition (OLTR; Liu et al., CVPR 2019) on ResNet-152, Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
bash tools/dist_train.sh configs/oltr/oltr_resnet152_4xb32-30e_places-lt.py 4
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    type='mmrecall.OLTR',
    first_stage='work_dirs/resnet152_4xb32-ce-30e_places-lt/epoch_30.pth',
    feature_size=7,
    frozen=True,
    head=dict(type='mmrecall.OLTRHead'),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'))
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=1.0), attention=dict(lr_mult=0.01))),
)
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[10, 20], by_epoch=True, begin=0, end=30)
custom_hooks = [
    dict(
        type='mmrecall.ClassMemoryHook',
        dataloader=dict(
            batch_size=64,
            num_workers=8,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset={**_base_.train_dataloader.dataset, 'pipeline': _base_.test_pipeline},
        ),
    ),
]
