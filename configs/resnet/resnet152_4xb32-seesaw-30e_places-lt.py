"""ResNet-152 with mmpretrain's Seesaw loss (Wang et al., CVPR 2021) on Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-seesaw-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
# every rank counts its classes alone, and a resumed training counts anew
model = dict(head=dict(loss=dict(_delete_=True, type='SeesawLoss', num_classes=365)))
