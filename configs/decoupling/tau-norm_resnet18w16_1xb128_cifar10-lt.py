"""τ-normalisation on a quarter-width ResNet-18 trained with cross entropy, on CIFAR-10-LT.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
The first stage's classifier with rows divided by their length to the power of τ, without its bias.
The best of 0, 0.1, …, 1 on a tenth of the evaluation images is kept; results are of the other nine
tenths, because there is no validation set beside.

    python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py
    python tools/train.py configs/decoupling/tau-norm_resnet18w16_1xb128_cifar10-lt.py

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet18w16_1xb128-ce-10e_cifar10-lt/epoch_10.pth',
    head=dict(type='mmrecall.TauNormHead'),
)
tenths = dict(type='KFoldDataset', num_splits=10, fold=0, seed=0, dataset={{_base_.test_dataloader.dataset}})
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(_delete_=True, test_mode=True, **tenths),
)
val_dataloader = dict(dataset=dict(_delete_=True, test_mode=False, **tenths))
test_dataloader = dict(dataset=dict(_delete_=True, test_mode=False, **tenths))
train_cfg = dict(_delete_=True, type='mmrecall.TauSelectionLoop')
param_scheduler = None
# there is nothing that gradients train, which the default wrapper refuses
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
