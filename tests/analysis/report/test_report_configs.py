import pytest

pytest.importorskip('mmengine')
pytest.importorskip('seaborn')

from types import SimpleNamespace

from written_runs import CE, RECALL, classification_config, segmentation_config

from mmrecall.analysis.report.configs import is_cross_entropy
from mmrecall.analysis.report.labels import labels_of
from mmrecall.analysis.report.selection import Selected


def labels(*configs, work_dirs=None):
    """Return the labels of runs without results."""
    places = work_dirs or [f'runs/{number}' for number in range(len(configs))]
    runs = [
        SimpleNamespace(config=config, work_dir=place, counts=None, batches=None, environment={})
        for config, place in zip(configs, places, strict=True)
    ]
    return labels_of([Selected(run, None) for run in runs])


def test_seeds_paths_workers_and_what_is_logged_make_no_other_label():
    watching = dict(type='mmrecall.ClassWeightHook', interval=10)
    assert (
        labels(
            segmentation_config(),
            segmentation_config(seed=1, workers=9, root='/scratch/CamVid'),
            segmentation_config(hooks=[watching]) | dict(work_dir='other', load_from=None),
        )
        == ['CrossEntropyLoss'] * 3
    )


def test_a_loss_is_called_by_its_type_and_by_what_distinguishes_it():
    losses = [
        RECALL,
        RECALL | dict(alpha=0.1, num_classes=3),
        RECALL | dict(metric='iou'),
        dict(type='mmrecall.SoftmaxFocalLoss', gamma=1.0),
        dict(type='mmrecall.SoftmaxFocalLoss', gamma=2.0),
        dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight='effective_number', class_counts='auto'),
        [CE, dict(type='mmrecall.SoftDiceLoss')],
    ]
    assert labels(*map(segmentation_config, losses)) == [
        'RecallLoss',
        'RecallLoss alpha=0.1',
        'RecallLoss metric=iou',
        'SoftmaxFocalLoss gamma=1.0',
        'SoftmaxFocalLoss gamma=2.0',
        'WeightedCrossEntropyLoss class_weight=effective_number',
        'CrossEntropyLoss + SoftDiceLoss',
    ]


def test_one_loss_with_other_settings_is_told_apart_by_them():
    assert labels(segmentation_config(lr=0.1), segmentation_config(lr=0.2), segmentation_config(RECALL)) == [
        'CrossEntropyLoss optimizer.lr=0.1',
        'CrossEntropyLoss optimizer.lr=0.2',
        'RecallLoss',
    ]


def test_whatever_differs_no_two_settings_share_a_label():
    configs = [segmentation_config(), segmentation_config(hooks=[dict(type='EMAHook', momentum=m) for m in (1, 2, 3)])]
    configs.append(segmentation_config(hooks=[dict(type='EMAHook', momentum=m) for m in (1, 2, 4)]))
    assert len(set(labels(*configs))) == 3


def test_a_decoupled_head_is_called_by_its_own_arguments():
    heads = [dict(alpha=0.1), dict(feature_head=dict(loss=dict(type='CrossEntropyLoss')))]
    found = labels(*(classification_config(dict(type='mmrecall.SDNHead', **head)) for head in heads))
    assert found == ['SDNHead alpha=0.1', 'SDNHead feature_head.loss=CrossEntropyLoss']


@pytest.mark.parametrize(
    ('config', 'plain'),
    [
        (segmentation_config(), True),
        (segmentation_config(dict(type='mmrecall.WeightedCrossEntropyLoss')), True),
        (segmentation_config(CE | dict(class_weight=[1, 2, 3])), False),
        (segmentation_config(CE | dict(use_sigmoid=True)), False),
        (segmentation_config(dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight='effective_number')), False),
        (segmentation_config(RECALL), False),
        (classification_config(dict(type='LinearClsHead')), True),
        (classification_config(dict(type='mmrecall.SDNHead')), False),
    ],
)
def test_plain_cross_entropy_is_known(config, plain):
    assert is_cross_entropy(config) is plain


def second_stage(first):
    head = dict(type='mmrecall.LWSHead')
    return dict(model=dict(type='mmrecall.SecondStageClassifier', first_stage=first, head=head))


def test_two_first_stages_are_two_labels_and_two_seeds_of_one_are_one():
    places = ('work_dirs/ce-seed0/epoch_1.pth', 'work_dirs/sdn/epoch_1.pth', 'other/ce-seed1/epoch_1.pth',
              'slurm/ce/seed_2/epoch_1.pth')  # fmt: skip
    first, second, *others = labels(*map(second_stage, places))
    assert (first, second, *others) == ('LWSHead first_stage=ce', 'LWSHead first_stage=sdn', first, first)
    assert not is_cross_entropy(second_stage(places[0]))


def test_a_loss_of_features_is_named_beside_cross_entropy():
    head = dict(type='mmrecall.FeatureLossClsHead', loss=CE, feature_loss=dict(type='mmrecall.RangeLoss'))
    config = classification_config(head)
    assert labels(config, classification_config(dict(type='LinearClsHead', loss=CE))) == [
        'CrossEntropyLoss + RangeLoss',
        'CrossEntropyLoss',
    ]
    assert not is_cross_entropy(config)


def test_bbn_is_no_plain_cross_entropy():
    config = classification_config(dict(type='mmrecall.BBNHead', loss=CE))
    assert labels(config, classification_config(dict(type='LinearClsHead', loss=CE))) == [
        'BBNHead loss=CrossEntropyLoss',
        'CrossEntropyLoss',
    ]
    assert not is_cross_entropy(config)
    assert not is_cross_entropy(classification_config(dict(type='mmrecall.BBNHead')))
