"""Nearest class mean (NCM; Kang et al., ICLR 2020) on ResNet-32, CIFAR-100-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ce-200e_cifar100-lt.py
python tools/train.py configs/decoupling/ncm_resnet32_1xb128_cifar100-lt.py
"""

_base_ = '../resnet/resnet32_1xb128-ce-200e_cifar100-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet32_1xb128-ce-200e_cifar100-lt/epoch_200.pth',
    head=dict(type='mmrecall.NearestClassMeanHead', distance='cosine'),
)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(pipeline=_base_.test_pipeline),
)
train_cfg = dict(_delete_=True, type='mmrecall.ClassMeansLoop')
param_scheduler = None
# nothing is trained by gradients, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
