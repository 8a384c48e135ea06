"""Nearest class mean (NCM; Kang et al., ICLR 2020) on ResNet-152, Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
bash tools/dist_train.sh configs/decoupling/ncm_resnet152_4xb32_places-lt.py 4
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet152_4xb32-ce-30e_places-lt/epoch_30.pth',
    head=dict(type='mmrecall.NearestClassMeanHead', distance='cosine'),
)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(pipeline=_base_.test_pipeline),
)
train_cfg = dict(_delete_=True, type='mmrecall.ClassMeansLoop')
# the head has no parameters to set a learning rate for
optim_wrapper = dict(paramwise_cfg=None)
param_scheduler = None
# nothing is trained by gradients, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
