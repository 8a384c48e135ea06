"""Adam at a constant learning rate of 1e-3, 1,000 iterations, for CPUs."""

_base_ = './adam_20k.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=1000, val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=500), class_weight=dict(interval=20))
