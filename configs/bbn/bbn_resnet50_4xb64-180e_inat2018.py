"""BBN (Zhou et al., CVPR 2020) with ResNet-50 on iNaturalist 2018.

bash tools/dist_train.sh configs/bbn/bbn_resnet50_4xb64-180e_inat2018.py 4
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
# the authors normalise with the colours of ImageNet
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(type='mmrecall.BBN', head=dict(type='mmrecall.BBNHead'))
train_dataloader = dict(batch_size=64, sampler=dict(_delete_=True, type='mmrecall.BilateralSampler'))
optim_wrapper = dict(optimizer=dict(nesterov=True))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[120, 160], by_epoch=True, begin=0, end=180)
train_cfg = dict(max_epochs=180)
custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=256)
