"""Learnable weight scaling (LWS; Kang et al., ICLR 2020) on ResNet-50, iNaturalist 2018.

bash tools/dist_train.sh configs/resnet/resnet50_4xb32-ce-90e_inat2018.py 4
bash tools/dist_train.sh configs/decoupling/lws_resnet50_4xb32-5e_inat2018.py 4
"""

_base_ = './crt_resnet50_4xb32-30e_inat2018.py'
model = dict(head=dict(type='mmrecall.LWSHead'))
param_scheduler = dict(T_max=5, end=5)
train_cfg = dict(max_epochs=5)
