"""ResNet-152 with cross entropy and the range loss on Places-LT.

Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-range-30e_places-lt.py 4

Published (Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019, table 3; closed set), many /
medium / few / all: 41.1 / 35.4 / 23.2 / 35.1, with a plain softmax 45.9 / 22.4 / 0.36 / 27.2; open-set F-measure
0.457 and 0.366. Different here: their code takes the two largest distances of the whole batch, not squared, where
this takes those of every class, and parameters for the class means; their loader draws several images a class. The
factor of their loss is not known to us.

Range loss: Zhang et al., ICCV 2017. Images are drawn uniformly: the batch of all ranks has 133 pairs of one class on
average, of 24 of the 365 classes; the 32 images of a rank alone would have 8. The weight is a tenth of the one of the
small data sets, where features are 128 wide, not 2,048; nobody has tried it.
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.RangeLoss', loss_weight=0.00001),
    )
)
