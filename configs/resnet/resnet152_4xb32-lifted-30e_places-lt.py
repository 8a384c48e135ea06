"""ResNet-152 with cross entropy and the lifted structure loss on Places-LT.

Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-lifted-30e_places-lt.py 4

Published (Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019, table 3; closed set), many /
medium / few / all: 41.1 / 35.4 / 24.0 / 35.2, with a plain softmax 45.9 / 22.4 / 0.36 / 27.2; open-set F-measure
0.459 and 0.366. Different here: the margin is Oh Song et al.'s 1, where their code has 5; their loader draws several
images a class. The factor of their loss is not known to us.

Lifted structure loss: Oh Song et al., CVPR 2016. Images are drawn uniformly: the batch of all ranks has 133 pairs of
one class on average, of 24 of the 365 classes; the 32 images of a rank alone would have 8. The weight is the one of
the small data sets; nobody has tried it here.
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.LiftedStructureLoss', loss_weight=0.1),
    )
)
