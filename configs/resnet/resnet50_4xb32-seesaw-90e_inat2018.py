"""ResNet-50 with mmpretrain's Seesaw loss (Wang et al., CVPR 2021) on iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-seesaw-90e_inat2018.py 4
"""

_base_ = './resnet50_4xb32-ce-90e_inat2018.py'
# every rank counts its classes alone, and a resumed training counts anew
model = dict(head=dict(loss=dict(_delete_=True, type='SeesawLoss', num_classes=8142)))
