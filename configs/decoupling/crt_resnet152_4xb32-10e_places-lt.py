"""Classifier re-training (cRT; Kang et al., ICLR 2020) on ResNet-152, Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
bash tools/dist_train.sh configs/decoupling/crt_resnet152_4xb32-10e_places-lt.py 4
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet152_4xb32-ce-30e_places-lt/epoch_30.pth',
)
train_dataloader = dict(sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'))
param_scheduler = dict(T_max=10, end=10)
train_cfg = dict(max_epochs=10)
