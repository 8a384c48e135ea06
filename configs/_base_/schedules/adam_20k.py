"""Adam at a constant learning rate ("without annealing"), 20,000 iterations."""

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmrecall.AtomicCheckpointHook', by_epoch=False, interval=2000, max_keep_ckpts=2),
    exact_resume=dict(type='mmrecall.ExactResumeHook'),
    non_finite_loss=dict(type='mmrecall.NonFiniteLossHook'),
    class_weight=dict(type='mmrecall.ClassWeightHook', interval=50),
    low_resolution_loss=dict(type='mmrecall.LowResolutionLossHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
