"""ResNet-152 with lifted structure loss (Oh Song et al., CVPR 2016) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-lifted-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.LiftedStructureLoss', loss_weight=0.1),
    )
)
