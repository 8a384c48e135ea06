"""Classifier re-training (cRT; Kang et al., ICLR 2020) on a quarter-width ResNet-18, CIFAR-10-LT.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py
python tools/train.py configs/decoupling/crt_resnet18w16_1xb128-10e_cifar10-lt.py
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet18w16_1xb128-ce-10e_cifar10-lt/epoch_10.pth',
)
train_dataloader = dict(sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'))
