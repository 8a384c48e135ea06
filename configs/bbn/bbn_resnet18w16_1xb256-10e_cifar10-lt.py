"""BBN (Zhou et al., CVPR 2020) with a quarter-width ResNet-18 on CIFAR-10-LT.

python tools/train.py configs/bbn/bbn_resnet18w16_1xb256-10e_cifar10-lt.py
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(type='mmrecall.BBN', head=dict(type='mmrecall.BBNHead'))
train_dataloader = dict(batch_size=256, sampler=dict(_delete_=True, type='mmrecall.BilateralSampler'))
custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=256)
