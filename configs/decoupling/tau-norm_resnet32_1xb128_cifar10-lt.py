"""τ-normalisation (Kang et al., ICLR 2020) on ResNet-32, CIFAR-10-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ce-200e_cifar10-lt.py
python tools/train.py configs/decoupling/tau-norm_resnet32_1xb128_cifar10-lt.py
"""

_base_ = '../resnet/resnet32_1xb128-ce-200e_cifar10-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet32_1xb128-ce-200e_cifar10-lt/epoch_200.pth',
    head=dict(type='mmrecall.TauNormHead'),
)
tenths = dict(type='KFoldDataset', num_splits=10, fold=0, seed=0, dataset=_base_.test_dataloader.dataset)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(_delete_=True, test_mode=True, **tenths),
)
val_dataloader = dict(dataset=dict(_delete_=True, test_mode=False, **tenths))
test_dataloader = dict(dataset=dict(_delete_=True, test_mode=False, **tenths))
train_cfg = dict(_delete_=True, type='mmrecall.TauSelectionLoop')
param_scheduler = None
# nothing is trained by gradients, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
