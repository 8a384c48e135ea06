"""ResNet-50 with balanced softmax (Ren et al., NeurIPS 2020) on iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-balanced-softmax-90e_inat2018.py 4
"""

_base_ = './resnet50_4xb32-ce-90e_inat2018.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='mmrecall.BalancedSoftmaxLoss', class_counts='auto', num_classes=8142))
)
