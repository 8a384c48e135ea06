"""τ-normalisation on ResNet-152 trained with cross entropy, on Places-LT.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
The first stage's classifier with rows divided by their length to the power of τ, without its bias.
The best of 0, 0.1, …, 1 on the validation set is kept.

Published accuracy: 37.9 (many 37.8, medium 40.7, few 31.8); cross entropy alone 30.2.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
    bash tools/dist_train.sh configs/decoupling/tau-norm_resnet152_4xb32_places-lt.py 4

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet152_4xb32-ce-30e_places-lt/epoch_30.pth',
    head=dict(type='mmrecall.TauNormHead'),
)
# chosen on the validation set
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(ann_file='Places_LT_val.txt', pipeline={{_base_.test_pipeline}}),
)
train_cfg = dict(_delete_=True, type='mmrecall.TauSelectionLoop')
# with rates of its own for the head, it would have no parameters at all
optim_wrapper = dict(paramwise_cfg=None)
param_scheduler = None
# there is nothing that gradients train, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
