"""Nearest class mean (NCM; Kang et al., ICLR 2020) on a quarter-width ResNet-18, Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py
python tools/train.py configs/decoupling/ncm_resnet18w16_1xb128_tiny-imagenet-lt-32x32.py
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32/epoch_10.pth',
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
