"""Which runs share a label, and what tells the others apart."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

import numpy as np
from mmengine.config import Config
from written_runs import RECALL, Start, classification_config, segmentation_config, write_run

from mmrecall.analysis.report import read_labels, write_report
from mmrecall.analysis.report.labels import given_labels, labels_of
from mmrecall.analysis.report.notes import notes_on
from mmrecall.analysis.report.selection import Selected, comparable, find_work_dirs, read_runs
from mmrecall.analysis.report.tables import compare, config_differences

HEAD = dict(type='LinearClsHead')


def labels(*configs, work_dirs=None):
    """Return the labels of runs without results."""
    places = work_dirs or [f'runs/{number}' for number in range(len(configs))]
    runs = [
        SimpleNamespace(config=config, work_dir=place, counts=None, batches=None, environment={})
        for config, place in zip(configs, places, strict=True)
    ]
    return labels_of([Selected(run, None) for run in runs])


def comparison_of(folder, given=()):
    selected, skipped = comparable(read_runs(find_work_dirs([folder])[0])[0])
    return compare(selected, given=given_labels(given, selected, skipped))


def label_of(comparison):
    return {one.run.work_dir.name: one.label for one in comparison.runs}


def shot(seed=0, **options):
    """Return a config tested by ShotAccuracy."""
    return classification_config(HEAD, seed) | dict(test_evaluator=dict(type='mmrecall.ShotAccuracy', **options))


def test_runs_with_other_settings_of_the_metrics_have_rows_of_their_own(tmp_path):
    write_run(tmp_path / 'a', shot(many=14, few=5), metrics={'shot/few': 0.0})
    write_run(tmp_path / 'b', shot(1, many=100, few=20), metrics={'shot/few': 50.0})
    comparison = comparison_of(tmp_path)
    assert label_of(comparison) == dict(
        a='CrossEntropyLoss evaluator.few=5 evaluator.many=14', b='CrossEntropyLoss evaluator.few=20 evaluator.many=100'
    )
    assert comparison.summary()['shot/few'].tolist() == [0, 50]
    assert comparison.summary()['seeds'].tolist() == [1, 1]
    changed = config_differences(comparison)
    assert changed[changed['setting'] == 'evaluator.few']['value'].tolist() in (['5'], ['20'])


def test_other_settings_of_the_metrics_of_two_losses_are_a_note(tmp_path):
    write_run(tmp_path / 'a', shot(many=14), metrics={'shot/few': 0.0})
    focal = classification_config(HEAD | dict(loss=dict(type='mmrecall.SoftmaxFocalLoss')))
    evaluator = dict(type='ShotAccuracy', many=100)
    write_run(tmp_path / 'b', focal | dict(test_evaluator=evaluator), metrics={'shot/few': 50.0})
    (note,) = (note for note in notes_on(comparison_of(tmp_path)) if 'not set alike' in note)
    assert note.endswith('evaluator.many is 14 in CrossEntropyLoss; 100 in SoftmaxFocalLoss')


@pytest.mark.parametrize('several', [False, True])
def test_output_folders_and_kept_predictions_of_a_test_make_no_other_row(several, tmp_path):
    for seed, options in enumerate((dict(), dict(out_dir=f'{tmp_path}/table', collect_device='gpu'))):
        config = shot(seed, class_counts=f'{tmp_path}/{seed}/counts.json', **options)
        if several:
            dumping = [dict(type='DumpResults', out_file_path='a.pkl')] if seed else []
            config['test_evaluator'] = [config['test_evaluator'], *dumping]
        write_run(tmp_path / str(seed), config, metrics={'shot/few': 10.0 * seed})
    assert comparison_of(tmp_path).summary()['seeds'].tolist() == [2]


def test_the_settings_are_those_of_the_evaluation_that_the_result_is_of(tmp_path):
    """Two are validated alike and would be tested otherwise."""
    for seed, few in enumerate((5, 20)):
        config = shot(seed, few=few) | dict(val_evaluator=dict(type='mmrecall.ShotAccuracy'))
        start = Start(tmp_path / str(seed), config)
        start.train(10)
        start.validate(1, {'shot/few': 10.0})
    assert comparison_of(tmp_path).summary()['seeds'].tolist() == [2]


def test_a_test_is_described_by_its_own_config(tmp_path):
    for name, few in (('a', 5), ('b', 20)):
        write_run(tmp_path / name, shot(few=5), metrics={'shot/few': 10.0})
        own = tmp_path / name / 'test' / '20260102_000000' / 'vis_data' / 'config.py'
        own.parent.mkdir()
        own.write_text(Config(shot(few=few)).pretty_text)
    assert label_of(comparison_of(tmp_path)) == dict(
        a='CrossEntropyLoss evaluator.few=5', b='CrossEntropyLoss evaluator.few=20'
    )


def test_another_scale_of_the_tested_images_is_another_row(tmp_path):
    for name, scale in (('a', 1), ('b', 2)):
        config = segmentation_config()
        config['test_dataloader']['dataset']['pipeline'] = [dict(type='Resize', scale=scale, backend_args=None)]
        write_run(tmp_path / name, config)
    assert label_of(comparison_of(tmp_path)) == dict(
        a='CrossEntropyLoss pipeline.scale=1', b='CrossEntropyLoss pipeline.scale=2'
    )


def test_a_run_without_a_result_is_a_seed_of_the_runs_with_its_training(tmp_path):
    write_run(tmp_path / 'a', shot(few=5), metrics={'shot/few': 10.0})
    write_run(tmp_path / 'b', shot(1, few=20), tested=None)
    assert set(label_of(comparison_of(tmp_path)).values()) == {'CrossEntropyLoss'}


def network(backbone, head='FCNHead', lr=0.1, **options):
    config = segmentation_config(RECALL, lr=lr)
    config['model'] |= dict(backbone=backbone | options)
    config['model']['decode_head'] |= dict(type=head)
    return config


RESNET = dict(type='ResNetV1c', depth=50, style='pytorch', strides=(1, 2), dilations=(1, 1))
SWIN = dict(type='SwinTransformer', arch='tiny', window_size=7, drop_path_rate=0.1)
MIT = dict(type='MixVisionTransformer', embed_dims=32, num_layers=[2, 2, 2, 2], mlp_ratio=4)


def sdn(alpha, head_alpha=0.5, **classifier):
    def loss(name, **options):
        return dict(loss=dict(type=name, num_classes=10, **options))

    head = loss('mmrecall.RecallLoss', alpha=alpha, metric='recall')
    other = loss('mmrecall.WeightedCrossEntropyLoss', class_weight='effective_number', **classifier)
    return classification_config(
        dict(type='mmrecall.SDNHead', alpha=head_alpha, feature_head=head, classifier_head=other)
    )


def test_labels_of_nested_losses_say_what_differs_and_not_what_all_share():
    options = [(0.1, 'weight'), (0.01, 'valid'), (0.01, 'weight')]
    # the head has an alpha too
    assert labels(*(sdn(alpha, beta=0.999, normalizer=normalizer) for alpha, normalizer in options)) == [
        'SDNHead alpha=0.5 loss.alpha=0.1',
        'SDNHead alpha=0.5 loss.alpha=0.01 normalizer=valid',
        'SDNHead alpha=0.5 loss.alpha=0.01 normalizer=weight',
    ]


def test_a_label_that_stands_alone_has_the_arguments_of_its_losses():
    alone, recall = labels(sdn(0.1), classification_config(dict(type='LinearClsHead', loss=RECALL)))
    assert alone.startswith('SDNHead alpha=0.5 feature_head.loss=RecallLoss loss.alpha=0.1 metric=recall')
    assert recall == 'RecallLoss'


def test_architectures_are_told_apart_by_their_names():
    assert labels(network(RESNET), network(SWIN), network(MIT, 'SegformerHead')) == [
        'RecallLoss ResNetV1c-50 FCNHead',
        'RecallLoss SwinTransformer-tiny FCNHead',
        'RecallLoss MixVisionTransformer SegformerHead',
    ]
    # the head is named where heads differ alone
    assert labels(network(RESNET), network(SWIN)) == ['RecallLoss ResNetV1c-50', 'RecallLoss SwinTransformer-tiny']


def test_runs_of_one_architecture_are_told_apart_by_what_they_differ_in():
    assert labels(network(RESNET), network(RESNET, lr=0.2), network(SWIN)) == [
        'RecallLoss ResNetV1c-50 optimizer.lr=0.1',
        'RecallLoss ResNetV1c-50 optimizer.lr=0.2',
        'RecallLoss SwinTransformer-tiny',
    ]


def test_an_architecture_that_differs_in_two_settings_is_called_by_them():
    assert labels(network(RESNET), network(RESNET | dict(depth=18))) == [
        'RecallLoss backbone.depth=50',
        'RecallLoss backbone.depth=18',
    ]


def test_where_settings_are_too_long_for_a_label_the_work_dir_tells():
    """No label is a bare number."""
    long = [RECALL | dict(class_weight=[0.5] * 40 + [weight]) for weight in (1, 2)]
    found = labels(*map(segmentation_config, long), work_dirs=['runs/near/seed_0', 'runs/far/seed_1'])
    assert [label.rpartition(' ')[2] for label in found] == ['(near)', '(far)']
    found = labels(*map(segmentation_config, long), work_dirs=['a/ce-seed0', 'b/ce-seed1'])
    assert [label.rpartition(' ')[2] for label in found] == ['(a/ce)', '(b/ce)']
    found = labels(*map(segmentation_config, long), work_dirs=['ce/seed0', 'ce/seed1'])
    assert [label.rpartition(' ')[2] for label in found] == ['(seed0)', '(seed1)']


@pytest.mark.parametrize('file', ['epoch_1.pth', 'last.ckpt', 'model.safetensors', 'checkpoint_0199.pth.tar'])
def test_runs_are_told_apart_by_the_weights_that_they_begin_with(file):
    begun = [segmentation_config() | dict(load_from=f'work_dirs/{name}/{file}') for name in ('imagenet', 'coco')]
    assert labels(segmentation_config(), *begun) == [
        'CrossEntropyLoss',
        f'CrossEntropyLoss load_from=imagenet/{file}',
        f'CrossEntropyLoss load_from=coco/{file}',
    ]
    pretrained = [
        network(RESNET, init_cfg=dict(type='Pretrained', checkpoint=f'https://x.org/{name}/{file}'))
        for name in ('imagenet', 'coco')
    ]
    assert labels(*pretrained) == [f'RecallLoss init_cfg.checkpoint={name}/{file}' for name in ('imagenet', 'coco')]


def test_of_many_settings_the_weights_at_the_beginning_are_named():
    config = segmentation_config(hooks=[dict(type='EMAHook', momentum=1)])
    changed = segmentation_config(lr=1, hooks=[dict(type='EMAHook', momentum=2)]) | dict(load_from='pre/b.pth')
    assert labels(config | dict(load_from='pre/a.pth'), changed) == [
        'CrossEntropyLoss load_from=pre/a.pth optimizer.lr=0.1',
        'CrossEntropyLoss load_from=pre/b.pth optimizer.lr=1',
    ]


def test_the_checkpoint_that_a_run_goes_on_from_is_not_what_it_began_with(tmp_path):
    began = segmentation_config() | dict(load_from='pre/a.pth')
    write_run(tmp_path / 'whole', began)
    write_run(tmp_path / 'resumed', began | dict(randomness=dict(seed=1)), tested=None)
    again = segmentation_config(seed=1) | dict(load_from=f'{tmp_path}/resumed/iter_5.pth', resume=True)
    Start(tmp_path / 'resumed', again, time='20260101_120000').train(15)
    write_run(tmp_path / 'scratch', segmentation_config())
    assert label_of(comparison_of(tmp_path)) == dict(
        whole='CrossEntropyLoss load_from=pre/a.pth',
        resumed='CrossEntropyLoss load_from=pre/a.pth',
        scratch='CrossEntropyLoss',
    )


LAZY = """
from mmengine.config import read_base
from mmseg.datasets.basesegdataset import BaseSegDataset
from mmseg.evaluation import IoUMetric
from mmseg.models import EncoderDecoder, FCNHead
from mmseg.models.losses import CrossEntropyLoss
from torch.optim import SGD
from mmrecall.losses import RecallLoss

model = dict(type=EncoderDecoder, decode_head=dict(type=FCNHead, num_classes=3, loss_decode=dict(type=LOSS)))
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1))
train_dataloader = dict(dataset=dict(type=BaseSegDataset, data_root='data/x', pipeline=[]))
test_dataloader = dict(dataset=dict(type=BaseSegDataset, data_root='data/x', pipeline=[]))
test_evaluator = dict(type=IoUMetric)
"""


def test_runs_of_new_style_configs_are_compared_with_those_of_texts(tmp_path):
    for name, loss in (('ce', 'CrossEntropyLoss'), ('recall', 'RecallLoss')):
        (tmp_path / f'{name}.py').write_text(LAZY.replace('LOSS', loss))
        lazy = Config.fromfile(tmp_path / f'{name}.py')
        start = write_run(tmp_path / 'runs' / f'{name}-lazy', lazy.to_dict())
        # as the runner saves it
        lazy.dump(start.vis_data / 'config.py')
    dataset = dict(type='BaseSegDataset', data_root='data/x', pipeline=[])
    old = dict(
        model=dict(
            type='mmseg.EncoderDecoder',
            decode_head=dict(type='FCNHead', num_classes=3, loss_decode=dict(type='mmrecall.RecallLoss')),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_dataloader=dict(dataset=dataset),
        test_dataloader=dict(dataset=dataset),
        test_evaluator=dict(type='IoUMetric'),
        default_scope='mmseg',
    )
    write_run(tmp_path / 'runs' / 'recall-old', old)
    comparison = comparison_of(tmp_path / 'runs')
    assert label_of(comparison) == {
        'ce-lazy': 'CrossEntropyLoss',
        'recall-lazy': 'RecallLoss',
        'recall-old': 'RecallLoss',
    }
    assert comparison.reference == 'CrossEntropyLoss'


def test_a_config_with_classes_themselves_is_read_and_another_data_set_is_named(tmp_path):
    from mmseg.datasets import ADE20KDataset, BaseSegDataset

    try:
        Config(dict(type=BaseSegDataset)).dump()
    except SyntaxError:
        pytest.skip('this mmengine cannot save a config with classes')
    for name, cls in (('a', BaseSegDataset), ('b', 'mmseg.BaseSegDataset'), ('c', ADE20KDataset)):
        config = segmentation_config()
        for split in ('train', 'val', 'test'):
            config[f'{split}_dataloader']['dataset']['type'] = cls
        write_run(tmp_path / name, config)
    selected, (skipped,) = comparable(read_runs(find_work_dirs([tmp_path])[0])[0])
    assert [one.run.work_dir.name for one in selected] == ['a', 'b']
    assert skipped.reason.endswith('data set, type: ADE20KDataset here, BaseSegDataset there')


def written(folder, *names):
    for seed, name in enumerate(names):
        write_run(folder / name, segmentation_config(lr=0.1 + seed, seed=seed), tested=None)
        (folder / name / '20260101_000000').joinpath('x').touch()
        start = Start(folder / name, segmentation_config(lr=0.1 + seed, seed=seed), time='20260101_000001')
        start.train(20)
        start.validate(20, dict(aAcc=10.0 * seed))


def test_labels_of_the_user_are_those_of_all_runs_below_their_folders(tmp_path):
    written(tmp_path, 'ours/x/seed_0', 'ours/y', 'baseline', 'other')
    comparison = comparison_of(tmp_path, read_labels([f'ours={tmp_path}/ours', f'alpha=1={tmp_path}/baseline']))
    assert label_of(comparison) == dict(seed_0='ours', y='ours', baseline='alpha=1', other='CrossEntropyLoss')
    summary = comparison.summary()
    assert summary.loc['ours', 'aAcc'] == np.mean([0, 10])
    assert summary.loc['ours', 'seeds'] == 2
    assert 'ours: --labels makes one row of runs that differ in optimizer.lr' in notes_on(comparison)


def test_one_label_for_two_folders_is_one_row_and_no_other_run_joins_it(tmp_path):
    written(tmp_path, 'a', 'b', 'c')
    given = read_labels([f'CrossEntropyLoss={tmp_path}/a', f'CrossEntropyLoss={tmp_path}/b'])
    comparison = comparison_of(tmp_path, given)
    assert label_of(comparison) == dict(a='CrossEntropyLoss', b='CrossEntropyLoss', c='CrossEntropyLoss (c)')


def test_a_folder_without_a_run_and_two_labels_for_one_run_are_named(tmp_path):
    written(tmp_path, 'a/x', 'b')
    write_run(tmp_path / 'elsewhere', segmentation_config(root='data/other'), tested=None)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r"--labels 'ours=.*empty', and no run at or below that folder is compared"):
        comparison_of(tmp_path, read_labels([f'ours={tmp_path}/empty']))
    with pytest.raises(ValueError, match=r'(?s)ours=.*no run .*elsewhere: not comparable'):
        comparison_of(tmp_path, read_labels([f'ours={tmp_path}/elsewhere']))
    with pytest.raises(ValueError, match=r"'one=.*a' and 'two=.*a/x', two labels for .*a/x; expected one"):
        comparison_of(tmp_path, read_labels([f'one={tmp_path}/a', f'two={tmp_path}/a/x']))


@pytest.mark.parametrize('text', ['ours', '=work_dirs', 'ours='])
def test_a_label_without_a_folder_is_refused(text):
    with pytest.raises(ValueError, match=f"got --labels '{text}'; expected LABEL=FOLDER; set"):
        read_labels([text])


def test_a_label_of_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected an existing folder; 'nowhere' is none"):
        read_labels(['ours=nowhere'])


def test_the_report_takes_labels(tmp_path):
    written(tmp_path / 'runs', 'a', 'b')
    report = write_report([tmp_path / 'runs'], tmp_path / 'out', 'ours', labels=[('ours', tmp_path / 'runs' / 'b')])
    assert report.comparison.labels == ['ours', 'CrossEntropyLoss']
    assert Path(report.page).is_file()
