"""Learnable weight scaling (LWS) on ResNet-50 trained with cross entropy, on iNaturalist 2018.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
One learned scale per class on the frozen classifier, with class-balanced sampling.

Published accuracy, first stage of 90 epochs: 65.9; cross entropy alone 61.7.
The authors take a batch of 512 and a rate of 0.2 for 5 epochs;
the rate here is for a batch of 128, and the statistics of batch normalisation are frozen, theirs move.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet50_4xb32-ce-90e_inat2018.py 4
    bash tools/dist_train.sh configs/decoupling/lws_resnet50_4xb32-5e_inat2018.py 4

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet50_4xb32-ce-90e_inat2018/epoch_90.pth',
    head=dict(type='mmrecall.LWSHead'),
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'),
)
param_scheduler = dict(T_max=5, end=5)
train_cfg = dict(max_epochs=5)
