"""ResNet-152 with logit-adjusted cross entropy (Menon et al., ICLR 2021) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-logit-adjusted-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='mmrecall.LogitAdjustedLoss', class_counts='auto', num_classes=365, tau=1.0)
    )
)
