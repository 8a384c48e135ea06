"""Classifier re-training (cRT) on ResNet-152 trained with cross entropy, on Places-LT.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
A new linear classifier on the frozen features, with class-balanced sampling.

Published accuracy: 36.7 (many 42.0, medium 37.6, few 24.9); cross entropy alone 30.2.
The authors take a batch of 256 and a rate of 0.1 for 10 epochs;
the rate here is for a batch of 128, and the statistics of batch normalisation are frozen, theirs move.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
    bash tools/dist_train.sh configs/decoupling/crt_resnet152_4xb32-10e_places-lt.py 4

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet152_4xb32-ce-30e_places-lt/epoch_30.pth',
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'),
)
param_scheduler = dict(T_max=10, end=10)
train_cfg = dict(max_epochs=10)
