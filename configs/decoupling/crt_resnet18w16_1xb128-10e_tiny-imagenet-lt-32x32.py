"""Classifier re-training (cRT; Kang et al., ICLR 2020) on a quarter-width ResNet-18, Tiny-ImageNet-LT at 32x32.

python tools/train.py configs/resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py
python tools/train.py configs/decoupling/crt_resnet18w16_1xb128-10e_tiny-imagenet-lt-32x32.py
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32.py'
model = dict(
    type='mmrecall.SecondStageClassifier',
    first_stage='work_dirs/resnet18w16_1xb128-ce-10e_tiny-imagenet-lt-32x32/epoch_10.pth',
)
train_dataloader = dict(sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'))
