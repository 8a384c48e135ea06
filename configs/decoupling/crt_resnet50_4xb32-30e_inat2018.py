"""Classifier re-training (cRT; Kang et al., ICLR 2020) on ResNet-50, iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-ce-90e_inat2018.py 4
bash tools/dist_train.sh configs/decoupling/crt_resnet50_4xb32-30e_inat2018.py 4
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet50_4xb32-ce-90e_inat2018/epoch_90.pth',
)
train_dataloader = dict(sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'))
param_scheduler = dict(T_max=30, end=30)
train_cfg = dict(max_epochs=30)
