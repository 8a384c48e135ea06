"""Simple Decoupled Network on ResNet-152, SDN-recall with alpha 0.9, on Places-LT.

Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/sdn/sdn_resnet152_4xb32-recall-ema0.9-30e_places-lt.py 4
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(
        _delete_=True,
        type='mmrecall.SDNHead',
        num_classes=365,
        in_channels=2048,
        alpha=0.9,
    ),
)
