"""Classifier re-training (cRT) on a quarter-width ResNet-18 trained with cross entropy, on CIFAR-10-LT.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020.
A new linear classifier on the frozen features, with class-balanced sampling.

    python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py
    python tools/train.py configs/decoupling/crt_resnet18w16_1xb128-10e_cifar10-lt.py

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet18w16_1xb128-ce-10e_cifar10-lt/epoch_10.pth',
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'),
)
