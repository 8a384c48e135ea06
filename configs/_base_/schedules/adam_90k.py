"""Adam at a constant learning rate of 1e-4, 90,000 iterations, as the papers train on Cityscapes."""

_base_ = './adam_20k.py'

train_cfg = dict(max_iters=90000, val_interval=9000)
default_hooks = dict(checkpoint=dict(interval=9000))
