"""Open long-tailed recognition (OLTR; Liu et al., CVPR 2019) on a quarter-width ResNet-18, CIFAR-10-LT.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py
python tools/train.py configs/oltr/oltr_resnet18w16_1xb128-10e_cifar10-lt.py
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(
    type='mmrecall.OLTR',
    first_stage='work_dirs/resnet18w16_1xb128-ce-10e_cifar10-lt/epoch_10.pth',
    feature_size=2,
    head=dict(type='mmrecall.OLTRHead'),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'))
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'attention': dict(lr_mult=0.1),
            'head.memory': dict(lr_mult=0.1),
        }
    ),
)
custom_hooks = [
    dict(
        type='mmrecall.ClassMemoryHook',
        dataloader=dict(
            batch_size=256,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset={**_base_.train_dataloader.dataset, 'pipeline': _base_.test_pipeline},
        ),
    ),
]
