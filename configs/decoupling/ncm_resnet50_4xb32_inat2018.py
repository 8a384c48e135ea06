"""Nearest class mean (NCM) on ResNet-50 trained with cross entropy, on iNaturalist 2018.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
The class of the nearest mean feature, by the cosine; the means come from one pass over the training set.

Published accuracy, first stage of 90 epochs: 58.2; cross entropy alone 61.7.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet50_4xb32-ce-90e_inat2018.py 4
    bash tools/dist_train.sh configs/decoupling/ncm_resnet50_4xb32_inat2018.py 4

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet50_4xb32-ce-90e_inat2018/epoch_90.pth',
    head=dict(type='mmrecall.NearestClassMeanHead', distance='cosine'),
)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(pipeline={{_base_.test_pipeline}}),
)
train_cfg = dict(_delete_=True, type='mmrecall.ClassMeansLoop')
param_scheduler = None
# there is nothing that gradients train, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
