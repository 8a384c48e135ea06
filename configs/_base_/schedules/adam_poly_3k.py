"""Adam, the learning rate falling from 1e-3 to 1e-5 with power 0.9, 3,000 iterations."""

_base_ = './adam_20k.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=3000, by_epoch=False)]
train_cfg = dict(max_iters=3000, val_interval=3000)
default_hooks = dict(checkpoint=dict(interval=1000))
