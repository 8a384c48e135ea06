"""BBN with a quarter-width ResNet-18 on CIFAR-10-LT.

Zhou et al., "BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual Recognition", CVPR 2020.

Published accuracy at imbalance ratio 100 (50, 10): 79.82 (82.18, 88.32).
The authors take ResNet-32 for 200 epochs, with steps at 120 and 160, here it is the small network for 10 epochs;
their trunk sees uniform and reversed images as two batches, here they are one.
A batch is 128 uniform images and 128 reversed ones.

    python tools/train.py configs/bbn/bbn_resnet18w16_1xb256-10e_cifar10-lt.py
"""

_base_ = '../resnet/resnet18w16_1xb128-ce-10e_cifar10-lt.py'
model = dict(type='mmrecall.BBN', head=dict(type='mmrecall.BBNHead'))
train_dataloader = dict(batch_size=256, sampler=dict(_delete_=True, type='mmrecall.BilateralSampler'))
custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=256)
