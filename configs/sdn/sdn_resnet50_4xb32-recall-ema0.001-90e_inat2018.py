"""SDN-recall (Simple Decoupled Network, Tian et al.) with ResNet-50 on iNaturalist 2018.

bash tools/dist_train.sh configs/sdn/sdn_resnet50_4xb32-recall-ema0.001-90e_inat2018.py 4
"""

_base_ = '../resnet/resnet50_4xb32-ce-90e_inat2018.py'
model = dict(head=dict(_delete_=True, type='mmrecall.SDNHead', num_classes=8142, in_channels=2048, alpha=0.001))
