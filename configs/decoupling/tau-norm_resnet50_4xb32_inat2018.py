"""τ-normalisation (Kang et al., ICLR 2020) on ResNet-50, iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-ce-90e_inat2018.py 4
bash tools/dist_train.sh configs/decoupling/tau-norm_resnet50_4xb32_inat2018.py 4
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet50_4xb32-ce-90e_inat2018/epoch_90.pth',
    head=dict(type='mmrecall.TauNormHead'),
)
tenths = dict(type='KFoldDataset', num_splits=10, fold=0, seed=0, dataset=_base_.val_dataloader.dataset)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(_delete_=True, test_mode=True, **tenths),
)
val_dataloader = dict(dataset=dict(_delete_=True, test_mode=False, **tenths))
test_dataloader = dict(dataset=dict(_delete_=True, test_mode=False, **tenths))
train_cfg = dict(_delete_=True, type='mmrecall.TauSelectionLoop')
param_scheduler = None
# nothing is trained by gradients, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
