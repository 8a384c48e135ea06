"""Faster R-CNN with the recall loss (Tian et al., ICRA 2022) on LVIS v1.

bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50-fpn_8xb2-recall-ema0.01-24e_lvis-v1.py 8
"""

_base_ = [
    '../_base_/default_runtime_mmdet.py',
    '../_base_/datasets/lvis_v1.py',
    '../_base_/models/faster-rcnn_r50-fpn.py',
    '../_base_/schedules/sgd_detection_24e.py',
]
model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=1203,
            loss_cls=dict(type='mmrecall.RecallLoss', alpha=0.01, num_classes=1203, no_object_weight=1.0),
        )
    )
)
