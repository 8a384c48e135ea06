"""ResNet-152 with mmpretrain's Seesaw loss (Wang et al., CVPR 2021) on Places-LT.

Beware: it counts the classes that its own rank has seen. On several ranks each has other counts, and none of them is in
the checkpoint, so a resumed training starts to count anew. Its figures depend on the number of ranks.

Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-seesaw-30e_places-lt.py 4
"""

_base_ = './resnet152_4xb32-ce-30e_places-lt.py'
model = dict(head=dict(loss=dict(_delete_=True, type='SeesawLoss', num_classes=365)))
