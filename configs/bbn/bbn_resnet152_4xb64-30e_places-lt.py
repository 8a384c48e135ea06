"""BBN (Zhou et al., CVPR 2020) with ResNet-152 on Places-LT.

bash tools/dist_train.sh configs/bbn/bbn_resnet152_4xb64-30e_places-lt.py 4
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(type='mmrecall.BBN', head=dict(type='mmrecall.BBNHead'))
train_dataloader = dict(batch_size=64, sampler=dict(_delete_=True, type='mmrecall.BilateralSampler'))
custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=256)
