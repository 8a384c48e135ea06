"""Adam at a constant learning rate of 1e-3, 350 iterations, for the demo."""

_base_ = './adam_1k.py'

train_cfg = dict(max_iters=350, val_interval=350)
default_hooks = dict(checkpoint=dict(interval=100))
