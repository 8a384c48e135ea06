"""Ten epochs of SGD for batches of 128: one of warm-up, then a cosine to zero."""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=9, by_epoch=True, begin=1, end=10, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=5)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='mmrecall.AtomicCheckpointHook', interval=1, max_keep_ckpts=1),
    exact_resume=dict(type='mmrecall.ExactResumeHook'),
    non_finite_loss=dict(type='mmrecall.NonFiniteLossHook'),
    class_weight=dict(type='mmrecall.ClassWeightHook', interval=50),
)
auto_scale_lr = dict(base_batch_size=128)
