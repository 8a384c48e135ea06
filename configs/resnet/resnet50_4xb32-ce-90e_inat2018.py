"""ResNet-50 with cross entropy on iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-ce-90e_inat2018.py 4
"""

_base_ = [
    '../_base_/default_runtime_mmpretrain.py',
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/sgd_90e.py',
]
model = dict(head=dict(num_classes=8142))
