"""ResNet-50 with mmpretrain's Seesaw loss (Wang et al., CVPR 2021) on iNaturalist 2018.

Beware: it counts the classes that its own rank has seen. On several ranks each has other counts, and none of them is in
the checkpoint, so a resumed training starts to count anew. Its figures depend on the number of ranks.

Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet50_4xb32-seesaw-90e_inat2018.py 4
"""

_base_ = './resnet50_4xb32-ce-90e_inat2018.py'
model = dict(head=dict(loss=dict(_delete_=True, type='SeesawLoss', num_classes=8142)))
