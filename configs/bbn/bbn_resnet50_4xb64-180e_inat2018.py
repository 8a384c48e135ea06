"""BBN with ResNet-50 on iNaturalist 2018.

Zhou et al., "BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual Recognition", CVPR 2020.

Published accuracy: 69.62 (of 90 epochs 66.29).
Rate and schedule are theirs. The coefficient is 1 - (t/180)^2, with the number of epochs as the paper says;
their code has 200 for these 180 epochs. Their trunk sees uniform and reversed images as two batches, here they are one.
A batch is 128 uniform images and 128 reversed ones, on all ranks together.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/bbn/bbn_resnet50_4xb64-180e_inat2018.py 4
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
model = dict(type='mmrecall.BBN', head=dict(type='mmrecall.BBNHead'))
train_dataloader = dict(batch_size=64, sampler=dict(_delete_=True, type='mmrecall.BilateralSampler'))
param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[120, 160], by_epoch=True, begin=0, end=180)
train_cfg = dict(max_epochs=180)
custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=256)
