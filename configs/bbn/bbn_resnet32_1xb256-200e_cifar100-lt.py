"""BBN (Zhou et al., CVPR 2020) with ResNet-32 on CIFAR-100-LT, as its authors train.

python tools/train.py configs/bbn/bbn_resnet32_1xb256-200e_cifar100-lt.py
"""

_base_ = '../resnet/resnet32_1xb128-ce-200e_cifar100-lt.py'
model = dict(type='mmrecall.BBN', head=dict(type='mmrecall.BBNHead'))
train_dataloader = dict(batch_size=256, sampler=dict(_delete_=True, type='mmrecall.BilateralSampler'))
optim_wrapper = dict(optimizer=dict(nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=True, begin=0, end=6),
    dict(type='MultiStepLR', milestones=[120, 160], gamma=0.01, by_epoch=True, begin=0, end=200),
]
custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=256)
