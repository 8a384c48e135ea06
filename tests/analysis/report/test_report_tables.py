import statistics
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

import pandas as pd
from matplotlib.figure import Figure
from seaborn.utils import relative_luminance
from written_runs import CE, RECALL, Start, classification_config, segmentation_config, write_run, write_test

from mmrecall.analysis.report.figures.curves import alphas_of, draw_alpha_curves, draw_curves
from mmrecall.analysis.report.figures.results import _draw_heat_map, draw_iou_by_class, draw_metrics, draw_trade_off
from mmrecall.analysis.report.figures.weights import draw_weight_lines, draw_weight_maps, draw_weight_shares
from mmrecall.analysis.report.selection import comparable, find_work_dirs, read_runs
from mmrecall.analysis.report.tables import _over_all_classes, compare, config_differences


def comparison_of(folder, reference=None):
    return compare(comparable(read_runs(find_work_dirs([folder])[0])[0])[0], reference)


@pytest.fixture
def two_losses(tmp_path):
    """Cross entropy with three seeds, the recall loss with one; what each was tested with."""
    found = {}
    for loss, seeds in ((CE, (0, 1, 2)), (RECALL, (0,))):
        for seed in seeds:
            name = f'{loss["type"]}-{seed}'
            write_run(tmp_path / name, segmentation_config(loss, seed=seed), tested=None)
            found[name] = write_test(tmp_path / name, seed=len(found))
    return tmp_path, found


def test_mean_and_deviation_are_over_the_seeds_of_a_loss(two_losses):
    folder, found = two_losses
    table = comparison_of(folder).summary()
    assert list(table.index) == ['CrossEntropyLoss', 'RecallLoss']
    assert table['seeds'].tolist() == [3, 1]
    for metric in ('mIoU', 'mAcc', 'aAcc'):
        values = [found[f'CrossEntropyLoss-{seed}'][0][metric] for seed in range(3)]
        assert table.loc['CrossEntropyLoss', metric] == pytest.approx(statistics.mean(values))
        assert table.loc['CrossEntropyLoss', f'{metric} std'] == pytest.approx(statistics.stdev(values))
        assert table.loc['RecallLoss', metric] == found['mmrecall.RecallLoss-0'][0][metric]
        assert np.isnan(table.loc['RecallLoss', f'{metric} std'])


def test_a_class_is_a_minority_class_where_the_references_iou_is_below_80(two_losses, monkeypatch):
    folder, found = two_losses
    by_class = np.mean([found[f'CrossEntropyLoss-{seed}'][1] for seed in range(3)], 0)
    # between the second and the third
    threshold = np.sort(by_class[:, 0])[1:].mean()
    monkeypatch.setattr('mmrecall.analysis.report.tables.MINORITY_IOU', threshold)
    comparison = comparison_of(folder)
    expected = [name for name, iou in zip(('road', 'pole', 'bus'), by_class[:, 0], strict=True) if iou < threshold]
    assert len(expected) == 2
    assert comparison.minority == expected
    rare = [place for place, name in enumerate(('road', 'pole', 'bus')) if name in expected]
    recall = found['mmrecall.RecallLoss-0'][1][rare].mean(0)
    row = comparison.results[comparison.results['label'] == 'RecallLoss'].iloc[0]
    assert row['mIoU, minority'] == pytest.approx(recall[0], abs=0.006)
    assert row['mAcc, minority'] == pytest.approx(recall[1], abs=0.006)


def test_the_reference_is_cross_entropy_or_what_is_asked_for(two_losses):
    assert comparison_of(two_losses[0]).reference == 'CrossEntropyLoss'
    assert comparison_of(two_losses[0], 'RecallLoss').reference == 'RecallLoss'
    with pytest.raises(ValueError, match=r"--reference 'focal'; expected one of: .*CrossEntropyLoss; .*RecallLoss"):
        comparison_of(two_losses[0], 'focal')


def test_without_cross_entropy_there_is_no_reference(tmp_path):
    write_run(tmp_path / 'recall', segmentation_config(RECALL))
    comparison = comparison_of(tmp_path)
    assert comparison.reference is None
    assert comparison.minority == []
    assert draw_trade_off(comparison) is not None


def test_the_drawn_points_are_the_means_of_the_table(two_losses):
    figure = draw_metrics(comparison_of(two_losses[0]))
    for axis, metric in zip(figure.drawing.axes, ('mAcc', 'mIoU', 'aAcc'), strict=False):
        drawn = {(x, y) for line in axis.lines for x, y in zip(*map(tuple, line.get_data()), strict=True)}
        for place, mean in enumerate(figure.table[metric]):
            assert any((x, y) == pytest.approx((mean, place)) for x, y in drawn), (metric, place)


def test_means_over_rare_classes_are_metrics_with_a_panel_of_the_first_figure_behind_the_others(two_losses):
    folder, _ = two_losses
    without = comparison_of(folder)
    rare = {name: dict(mAcc_rare=10.0 + place, mIoU_rare=5.0 + place) for place, name in enumerate(two_losses[1])}
    for name, found in rare.items():
        # the reference and its seeds have them, and one of the others
        write_test(folder / name, metrics=two_losses[1][name][0] | found, time='20260103_000000')
    write_run(folder / 'old', segmentation_config(dict(type='DiceLoss')))
    comparison = comparison_of(folder)
    first = [name for name in without.metrics if name in comparison.metrics]
    assert comparison.metrics == [*first, 'mAcc_rare', 'mIoU_rare']
    table = comparison.summary()
    assert table.loc['RecallLoss', 'mIoU_rare'] == 8
    assert table.loc['CrossEntropyLoss', 'mAcc_rare'] == 11
    assert np.isnan(table.loc['DiceLoss', 'mIoU_rare'])
    figure = draw_trade_off(comparison)
    all_classes, rare_classes = figure.drawing.axes
    names = [{text.get_text() for text in axis.texts} & set(comparison.labels) for axis in (all_classes, rare_classes)]
    assert names == [{'CrossEntropyLoss', 'RecallLoss', 'DiceLoss'}, {'CrossEntropyLoss', 'RecallLoss'}]
    assert rare_classes.get_ylabel() == 'mean accuracy of rare classes, %'
    drawn = {(line.get_xdata()[0], line.get_ydata()[0]) for line in rare_classes.lines if len(line.get_xdata()) == 1}
    assert {(6, 11), (8, 13)} <= drawn
    assert list(figure.table.index) == ['CrossEntropyLoss', 'DiceLoss', 'RecallLoss']
    assert len(draw_trade_off(without).drawing.axes) == 1
    titles = [axis.get_title() for axis in draw_metrics(comparison).drawing.axes]
    assert 'mean IoU\nof rare classes' in titles


@pytest.mark.parametrize('reference', [True, False])
def test_the_numbers_of_the_heat_map_are_those_of_the_table_and_a_missing_one_is_a_dash(reference, two_losses):
    comparison = comparison_of(two_losses[0])
    comparison.classes.loc[(comparison.classes['class'] == 'pole'), 'IoU'] = np.nan
    comparison = comparison if reference else comparison._replace(reference=None)
    figure = draw_iou_by_class(comparison)
    expected = [[f'{figure.table.loc[name, label]:.1f}' for label in comparison.labels] for name in ('road', 'bus')]
    drawn = np.reshape([text.get_text() for text in figure.drawing.axes[0].texts], (3, 2)).tolist()
    assert drawn == [expected[0], ['-', '-'], expected[1]]


def test_the_numbers_of_the_heat_map_can_be_read_on_all_colours():
    axis = Figure().subplots()
    values = pd.DataFrame(dict(reference=50.0, other=np.linspace(0, 100, 41)))
    _draw_heat_map(axis, values, SimpleNamespace(reference='reference', minority=[]))
    for text, color in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        dark, light = sorted(relative_luminance(one) for one in (text.get_color(), color))
        # The least that WCAG asks for.
        assert (light + 0.05) / (dark + 0.05) >= 4.5, text.get_text()


def test_a_metric_that_some_seeds_lack_says_how_many_have_it(tmp_path):
    write_run(tmp_path / 'a', segmentation_config(), tested=0)
    write_run(tmp_path / 'b', segmentation_config(seed=1), tested=None)
    write_test(tmp_path / 'b', metrics=dict(mIoU=50.0, mAcc=60.0, aAcc=70.0, extra=1.0))
    table = comparison_of(tmp_path).summary()
    assert table['seeds with extra'].tolist() == [1]
    assert 'seeds with mIoU' not in table


def test_the_differences_of_the_configs_are_those_that_were_made(tmp_path):
    write_run(tmp_path / 'ce', segmentation_config())
    write_run(tmp_path / 'slow', segmentation_config(lr=0.01))
    differences = config_differences(comparison_of(tmp_path))
    assert differences.to_numpy().tolist() == [
        ['CrossEntropyLoss optimizer.lr=0.01', 'optim_wrapper.optimizer.lr', '0.01', '0.1']
    ]


def test_curves_are_means_over_the_seeds(tmp_path):
    for seed, losses in ((0, (4.0, 2.0)), (1, (6.0, 4.0))):
        start = Start(tmp_path / str(seed), segmentation_config(seed=seed))
        for step, value in zip((10, 20), losses, strict=True):
            start.train(step, **{'decode.acc_seg': 10 * value})
    table = draw_curves(comparison_of(tmp_path)).everything
    accuracy = table[table['quantity'] == 'training accuracy, %']
    assert accuracy['mean'].to_dict() == {10: 50, 20: 30}
    assert accuracy['std'].tolist() == pytest.approx([statistics.stdev((40, 60)), statistics.stdev((20, 40))])


@pytest.mark.parametrize('head', ['FeatureLossClsHead', 'OLTRHead', 'LinearClsHead'])
@pytest.mark.parametrize('old', [True, False])
def test_the_loss_of_the_curves_is_the_sum_of_all_terms_in_old_logs_and_new_ones(old, head, tmp_path):
    """Of 2 and 0.5: mmengine logs the sum as `loss`, and once the first term of two heads took its place."""
    start = Start(tmp_path / 'run', classification_config(dict(type=f'mmrecall.{head}')))
    parts = dict(loss_feature=0.5) if head != 'LinearClsHead' else {}
    first = dict(loss=2.0) if old and parts else dict(loss=2.5, loss_cls=2.0)
    start.train(10, **first | parts)
    # It went on with today's head.
    start.train(20, **dict(loss=1.5, loss_cls=1.0) | parts)
    table = draw_curves(comparison_of(tmp_path)).everything
    assert table[table['quantity'] == 'training loss']['mean'].tolist() == [2.5, 1.5]


def test_alphas_are_compared_and_the_recall_of_the_batch_is_one(tmp_path):
    for number, arguments in enumerate((dict(), dict(alpha=0.1), dict(alpha=0.01), dict(metric='iou'))):
        write_run(tmp_path / str(number), segmentation_config(RECALL | arguments), tested=None)
    write_run(tmp_path / 'ce', segmentation_config(), tested=None)
    comparison = comparison_of(tmp_path)
    assert alphas_of(comparison) == {'RecallLoss': 1, 'RecallLoss alpha=0.1': 0.1, 'RecallLoss alpha=0.01': 0.01}
    assert set(draw_alpha_curves(comparison).everything['loss']) == {*alphas_of(comparison), 'CrossEntropyLoss'}


def weighed(folder, loss, seed, quantities):
    start = write_run(folder, segmentation_config(loss, seed=seed))
    for step in (20, 40):
        start.weights(step, 'class_share', dict(road=0.8, pole=0.2) if step == 20 else dict(road=0.9, bus=0.1))
        for quantity, weights in quantities.items():
            present = ('road', 'pole') if step == 20 else ('road', 'bus')
            start.weights(step, quantity, {name: weights[name] for name in present})


def test_class_weights_are_means_over_seeds_ordered_by_share(tmp_path):
    weighed(tmp_path / 'r0', RECALL, 0, dict(class_weight=dict(road=0.1, pole=0.9, bus=0.8)))
    weighed(tmp_path / 'r1', RECALL, 1, dict(class_weight=dict(road=0.3, pole=0.7, bus=0.6)))
    comparison = comparison_of(tmp_path)
    # a class that is not in a batch has no share of it
    assert comparison.shares.to_dict() == pytest.approx(dict(road=85, pole=10, bus=5))
    table = draw_weight_maps(comparison).everything
    means = {(step, row['class']): row['weight'] for step, row in table.iterrows()}
    assert means == pytest.approx({(20, 'road'): 0.2, (40, 'road'): 0.2, (20, 'pole'): 0.8, (40, 'bus'): 0.7})
    assert list(draw_weight_lines(comparison).table.index) == ['road', 'pole', 'bus']


def test_the_ratio_of_the_hypothetical_weights_is_recall_over_focal(tmp_path):
    recall, focal = dict(road=0.1, pole=0.9, bus=0.6), dict(road=0.4, pole=0.6, bus=0.3)
    weighed(tmp_path / 'ce', CE, 0, dict(hypothetical_recall_weight=recall, hypothetical_focal_weight=focal))
    table = draw_weight_shares(comparison_of(tmp_path)).table
    ratio = table['CrossEntropyLoss, hypothetical recall weight, over focal']
    assert ratio.to_dict() == pytest.approx(dict(road=0.25, pole=1.5, bus=2.0))
    assert table['% of labels'].to_dict() == pytest.approx(dict(road=85, pole=10, bus=5))


def test_without_class_weights_there_are_no_figures_of_them(two_losses):
    comparison = comparison_of(two_losses[0])
    assert [draw(comparison) for draw in (draw_weight_maps, draw_weight_lines, draw_weight_shares)] == [None] * 3


@pytest.mark.parametrize('rare', ['few', 'medium'])
def test_classification_is_compared_by_its_frequent_and_its_rarest_classes(rare, tmp_path):
    head = dict(type='LinearClsHead')
    metrics = {'shot/top1': 40.0, 'shot/many': 50.0, 'shot/medium': 20.0} | {f'shot/{rare}': 10.0}
    write_run(tmp_path / 'ce', classification_config(head), metrics=metrics)
    comparison = comparison_of(tmp_path)
    trade_off = draw_trade_off(comparison).table
    assert trade_off.loc['CrossEntropyLoss', ['shot/many', f'shot/{rare}']].tolist() == [50, 10]
    assert draw_metrics(comparison).table.loc['CrossEntropyLoss', 'shot/top1'] == 40


def test_shares_count_a_class_that_some_runs_never_saw_as_zero_there(tmp_path):
    for number, shares in enumerate((dict(road=0.9, pole=0.1), dict(road=0.8, bus=0.2))):
        start = write_run(tmp_path / str(number), segmentation_config(seed=number))
        start.weights(5, 'class_share', shares)
    shares = comparison_of(tmp_path).shares
    assert shares.to_dict() == pytest.approx(dict(road=85, bus=10, pole=5))


@pytest.mark.parametrize(
    'sampler',
    [
        dict(type='mmrecall.ClassProbabilitySampler', strategy='reversed'),
        dict(type='mmrecall.BilateralSampler'),
        dict(type='mmrecall.RareClassSampler', min_pixels=62),
    ],
)
def test_shares_of_batches_that_are_drawn_by_class_are_not_those_of_the_data(sampler, tmp_path):
    loader = dict(train_dataloader=dict(sampler=sampler))
    for number, (more, shares) in enumerate(((loader, dict(road=0.1, bus=0.9)), ({}, dict(road=0.8, bus=0.2)))):
        write_run(tmp_path / str(number), segmentation_config(seed=number) | more).weights(5, 'class_share', shares)
    assert comparison_of(tmp_path).shares.to_dict() == pytest.approx(dict(road=80, bus=20))


def test_the_mean_over_seeds_is_that_of_each_iteration_however_long_a_seed_is(tmp_path):
    for seed, length in ((0, 300), (1, 150)):
        start = Start(tmp_path / str(seed), segmentation_config(seed=seed))
        for step in range(1, length + 1):
            start.train(step, **{'decode.acc_seg': 100.0 * seed})
        write_test(tmp_path / str(seed))
    table = draw_curves(comparison_of(tmp_path)).everything
    accuracy = table[table['quantity'] == 'training accuracy, %']['mean']
    # where both are, and where one is alone; one bin may hold both
    assert set(accuracy[accuracy.index <= 145]) == {50.0}
    assert set(accuracy[accuracy.index >= 155]) == {0.0}


def test_an_alpha_of_focal_loss_is_none_of_the_running_recall(tmp_path):
    for number, alpha in enumerate((0.25, [0.2, 0.3, 0.5])):
        write_run(tmp_path / str(number), segmentation_config(dict(type='FocalLoss', alpha=alpha)))
    comparison = comparison_of(tmp_path)
    assert alphas_of(comparison) == {}
    assert draw_alpha_curves(comparison) is None


def test_means_that_leave_out_the_classes_never_predicted_are_left_out(two_losses):
    folder, _ = two_losses
    work = folder / 'mmrecall.RecallLoss-0'
    comparison = comparison_of(folder)
    result = next(one.result for one in comparison.runs if one.run.work_dir == work)
    result.classes['Fscore'] = [50.0, float('nan'), 40.0]
    result.metrics['mFscore'] = 45.0
    assert 'mFscore' not in _over_all_classes(result)
    result.classes['Fscore'] = [50.0, 0.0, 40.0]
    assert _over_all_classes(result)['mFscore'] == 45.0
