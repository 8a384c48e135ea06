"""SDN-recall (Simple Decoupled Network, Tian et al.) with ResNet-152 on Places-LT.

bash tools/dist_train.sh configs/sdn/sdn_resnet152_4xb32-recall-ema0.9-30e_places-lt.py 4
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(head=dict(_delete_=True, type='mmrecall.SDNHead', num_classes=365, in_channels=2048, alpha=0.9))
