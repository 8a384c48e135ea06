"""Thirty epochs of SGD for batches of 32, a cosine to zero."""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(type='CosineAnnealingLR', T_max=30, by_epoch=True, begin=0, end=30, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=10)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    checkpoint=dict(type='mmrecall.AtomicCheckpointHook', interval=5, max_keep_ckpts=1),
    exact_resume=dict(type='mmrecall.ExactResumeHook'),
    non_finite_loss=dict(type='mmrecall.NonFiniteLossHook'),
    class_weight=dict(type='mmrecall.ClassWeightHook', interval=50),
)
auto_scale_lr = dict(base_batch_size=32)
