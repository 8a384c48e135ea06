"""ResNet-152 with cross entropy on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/sgd_finetune_30e.py',
]
model = dict(head=dict(num_classes=365))
