"""Adam at a constant learning rate of 1e-3, 100,000 iterations, as the papers train on SYNTHIA."""

_base_ = './adam_20k.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=100000, val_interval=10000)
default_hooks = dict(checkpoint=dict(interval=10000))
