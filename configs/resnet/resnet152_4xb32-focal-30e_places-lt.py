"""ResNet-152 with focal loss (Lin et al., ICCV 2017) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-focal-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(head=dict(loss=dict(_delete_=True, type='mmrecall.SoftmaxFocalLoss', gamma=1.0)))
