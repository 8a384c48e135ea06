"""Nearest class mean (NCM) on a quarter-width ResNet-18 trained with cross entropy, on Tiny-ImageNet-LT at 32x32.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
The class of the nearest mean feature, by the cosine; the means come from one pass over the training set.

    python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py
    python tools/train.py configs/decoupling/ncm_resnet18w16_1xb128_tiny-imagenet-lt-32x32.py

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32/epoch_10.pth',
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
