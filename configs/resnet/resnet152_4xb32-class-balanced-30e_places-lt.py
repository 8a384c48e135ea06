"""ResNet-152 with class-balanced cross entropy (Cui et al., CVPR 2019) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-class-balanced-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='mmrecall.WeightedCrossEntropyLoss',
            class_weight='effective_number',
            class_counts='auto',
            beta=0.9999,
            num_classes=365,
        )
    )
)
