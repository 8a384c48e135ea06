"""ResNet-50 with logit-adjusted cross entropy (Menon et al., ICLR 2021) on iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-logit-adjusted-90e_inat2018.py 4
"""

_base_ = './resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='mmrecall.LogitAdjustedLoss', class_counts='auto', num_classes=8142, tau=1.0)
    )
)
