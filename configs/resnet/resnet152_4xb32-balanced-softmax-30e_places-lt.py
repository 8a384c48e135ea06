"""ResNet-152 with balanced softmax (Ren et al., NeurIPS 2020) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-balanced-softmax-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='mmrecall.BalancedSoftmaxLoss', class_counts='auto', num_classes=365))
)
