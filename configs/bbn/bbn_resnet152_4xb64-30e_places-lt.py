"""BBN with ResNet-152, pretrained on ImageNet, on Places-LT.

Zhou et al., "BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual Recognition", CVPR 2020.

No figures are published for this data set; the schedule is that of cross entropy here.
In the authors' code the two blocks begin at random, here both begin with the pretrained one;
their trunk sees uniform and reversed images as two batches, here they are one.
A batch is 128 uniform images and 128 reversed ones, on all ranks together.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/bbn/bbn_resnet152_4xb64-30e_places-lt.py 4
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(type='mmrecall.BBN', head=dict(type='mmrecall.BBNHead'))
train_dataloader = dict(batch_size=64, sampler=dict(_delete_=True, type='mmrecall.BilateralSampler'))
custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
auto_scale_lr = dict(base_batch_size=256)
