"""ResNet-50 with focal loss (Lin et al., ICCV 2017) on iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-focal-90e_inat2018.py 4
"""

_base_ = './resnet50_4xb32-ce-90e_inat2018.py'
model = dict(head=dict(loss=dict(_delete_=True, type='mmrecall.SoftmaxFocalLoss', gamma=1.0)))
