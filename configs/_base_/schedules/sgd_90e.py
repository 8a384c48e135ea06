"""Ninety epochs of SGD for batches of 128, a cosine to zero, as Kang et al. (ICLR 2020) train on iNaturalist 2018."""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(type='CosineAnnealingLR', T_max=90, by_epoch=True, begin=0, end=90)
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=5)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    checkpoint=dict(type='mmrecall.AtomicCheckpointHook', interval=1, max_keep_ckpts=2),
    exact_resume=dict(type='mmrecall.ExactResumeHook'),
    non_finite_loss=dict(type='mmrecall.NonFiniteLossHook'),
    class_weight=dict(type='mmrecall.ClassWeightHook', interval=10000),
)
auto_scale_lr = dict(base_batch_size=128)
