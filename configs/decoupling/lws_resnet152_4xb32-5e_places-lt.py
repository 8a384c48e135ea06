"""Learnable weight scaling (LWS; Kang et al., ICLR 2020) on ResNet-152, Places-LT.

bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
bash tools/dist_train.sh configs/decoupling/lws_resnet152_4xb32-5e_places-lt.py 4
"""

_base_ = './crt_resnet152_4xb32-10e_places-lt.py'
model = dict(head=dict(type='mmrecall.LWSHead'))
param_scheduler = dict(T_max=5, end=5)
train_cfg = dict(max_epochs=5)
