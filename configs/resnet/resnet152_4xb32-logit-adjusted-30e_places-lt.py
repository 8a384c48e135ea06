"""ResNet-152 with logit-adjusted cross entropy, tau 1 (Menon et al., 2021) on Places-LT.

With tau 1 its gradient is that of balanced softmax; the two differ in nothing but rounding.

Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-logit-adjusted-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='mmrecall.LogitAdjustedLoss', class_counts='auto', num_classes=365, tau=1.0)
    )
)
