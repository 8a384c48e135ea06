"""Thirty epochs of SGD for a classifier and batches of 128, as BagofTricks-LT trains cRT and LWS on CIFAR-10-LT."""

_base_ = './sgd_200e.py'
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4, nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=True, begin=0, end=6),
    dict(type='MultiStepLR', milestones=[10, 20], gamma=0.1, by_epoch=True, begin=0, end=30),
]
train_cfg = dict(max_epochs=30, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10))
