"""ResNet-152 with range loss (Zhang et al., ICCV 2017) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-range-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        type='mmrecall.FeatureLossClsHead',
        feature_loss=dict(type='mmrecall.RangeLoss', loss_weight=0.00001),
    )
)
