"""ResNet-50 with class-balanced cross entropy (Cui et al., CVPR 2019) on iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-class-balanced-90e_inat2018.py 4
"""

_base_ = './resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            beta=0.999,
            num_classes=8142,
        )
    )
)
