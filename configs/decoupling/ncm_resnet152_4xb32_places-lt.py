"""Nearest class mean (NCM) on ResNet-152 trained with cross entropy, on Places-LT.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
The class of the nearest mean feature, by the cosine; the means come from one pass over the training set.

Published accuracy: 36.4 (many 40.4, medium 37.1, few 27.3); cross entropy alone 30.2.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
    bash tools/dist_train.sh configs/decoupling/ncm_resnet152_4xb32_places-lt.py 4

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet152_4xb32-ce-30e_places-lt/epoch_30.pth',
    head=dict(type='mmrecall.NearestClassMeanHead', distance='cosine'),
)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(pipeline={{_base_.test_pipeline}}),
)
train_cfg = dict(_delete_=True, type='mmrecall.ClassMeansLoop')
# with rates of its own for the head, it would have no parameters at all
optim_wrapper = dict(paramwise_cfg=None)
param_scheduler = None
# there is nothing that gradients train, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
