"""200 epochs of SGD for batches of 128, five of warm-up, steps at 160 and 180, as Cao et al. train (NeurIPS 2019)."""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=2e-4))
param_scheduler = [
    # 0.02, 0.04, 0.06, 0.08, 0.1
    dict(type='LinearLR', start_factor=0.2, by_epoch=True, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01, by_epoch=True, begin=0, end=200),
]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=20)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='mmrecall.AtomicCheckpointHook', interval=20, max_keep_ckpts=1),
    exact_resume=dict(type='mmrecall.ExactResumeHook'),
    non_finite_loss=dict(type='mmrecall.NonFiniteLossHook'),
    class_weight=dict(type='mmrecall.ClassWeightHook', interval=1000),
)
auto_scale_lr = dict(base_batch_size=128)
