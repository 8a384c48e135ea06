"""Twenty-four epochs of SGD for batches of 16 images, a warm-up and two steps: mmdet's schedule of detectors, "2x"."""

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', milestones=[16, 22], gamma=0.1, by_epoch=True, begin=0, end=24),
]
train_cfg = dict(by_epoch=True, max_epochs=24, val_interval=24)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='mmrecall.AtomicCheckpointHook', interval=1, max_keep_ckpts=2),
    exact_resume=dict(type='mmrecall.ExactResumeHook'),
    non_finite_loss=dict(type='mmrecall.NonFiniteLossHook'),
    class_weight=dict(type='mmrecall.ClassWeightHook', interval=10000),
)
auto_scale_lr = dict(base_batch_size=16)
