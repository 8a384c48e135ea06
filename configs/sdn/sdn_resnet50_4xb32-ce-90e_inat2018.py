"""Simple Decoupled Network on ResNet-50, SDN-CE, on iNaturalist 2018.

Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/sdn/sdn_resnet50_4xb32-ce-90e_inat2018.py 4
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    head=dict(
        _delete_=True,
        type='mmrecall.SDNHead',
        num_classes=8142,
        in_channels=2048,
        feature_head=dict(loss=dict(type='CrossEntropyLoss')),
    ),
)
