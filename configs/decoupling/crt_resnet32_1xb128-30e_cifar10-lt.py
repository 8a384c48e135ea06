"""Classifier re-training (cRT; Kang et al., ICLR 2020) on ResNet-32, CIFAR-10-LT.

python tools/train.py configs/resnet/resnet32_1xb128-ce-200e_cifar10-lt.py
python tools/train.py configs/decoupling/crt_resnet32_1xb128-30e_cifar10-lt.py
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/cifar10_lt_archive.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/sgd_second_stage_30e.py',
]
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet32_1xb128-ce-200e_cifar10-lt/epoch_200.pth',
    head=dict(num_classes=10),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'))
