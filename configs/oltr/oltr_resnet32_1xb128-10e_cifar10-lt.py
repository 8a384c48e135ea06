"""Open long-tailed recognition (OLTR; Liu et al., CVPR 2019) on ResNet-32, CIFAR-10-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ce-200e_cifar10-lt.py
python tools/train.py configs/oltr/oltr_resnet32_1xb128-10e_cifar10-lt.py
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/cifar10_lt_archive.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/sgd_10e.py',
]
model = dict(
    type='mmrecall.OLTR',
    first_stage='work_dirs/resnet32_1xb128-ce-200e_cifar10-lt/epoch_200.pth',
    feature_size=8,
    head=dict(type='mmrecall.OLTRHead', num_classes=10),
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
            num_workers=4,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset={**_base_.train_dataloader.dataset, 'pipeline': _base_.test_pipeline},
        ),
    ),
]
