"""Open long-tailed recognition (OLTR) on ResNet-152 trained with cross entropy, on Places-LT.

Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019: the second of two stages, with
class-balanced sampling. The backbone is frozen.

Published accuracy: 35.9 (many 44.7, medium 37.0, few 25.3); cross entropy alone 27.2.
Rates and batch are the authors', with a cosine for their steps at 10 and 20 epochs. They have a layer from 2,048 to 512
channels before the classifier, which is not here; the statistics of batch normalisation are frozen, theirs move; they
draw a class, then four of its images, and here every image is a draw of its own.
Not trained by us: it needs GPUs.

    bash tools/dist_train.sh configs/resnet/resnet152_4xb32-ce-30e_places-lt.py 4
    bash tools/dist_train.sh configs/oltr/oltr_resnet152_4xb32-30e_places-lt.py 4

For another first stage, a decoupled network for example, add
--work-dir A_FOLDER_OF_ITS_OWN --cfg-options model.first_stage=PATH_OF_ITS_CHECKPOINT.
"""

_base_ = '../resnet/resnet152_4xb32-ce-30e_places-lt.py'
model = dict(
    type='mmrecall.OLTR',
    first_stage='work_dirs/resnet152_4xb32-ce-30e_places-lt/epoch_30.pth',
    feature_size=7,
    frozen=True,
    head=dict(type='mmrecall.OLTRHead'),
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmrecall.ClassProbabilitySampler', strategy='class_balanced'),
)
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=1.0), attention=dict(lr_mult=0.01))),
)
custom_hooks = [
    dict(
        type='mmrecall.ClassMemoryHook',
        dataloader=dict(
            batch_size=64,
            num_workers=8,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset={**_base_.train_dataloader.dataset, 'pipeline': _base_.test_pipeline},
        ),
    ),
]
