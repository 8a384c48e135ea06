import itertools
import math

import numpy as np
import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

from written_runs import Start, log_table, new_logger, segmentation_config, write_run

from mmrecall.analysis.report.logs import read_log, read_scalars
from mmrecall.analysis.report.runs import read_run

AWKWARD = ('a|b', '<b>"bus"</b>', "it's $x$", 'über/unter')


def test_the_table_of_mmseg_is_read_to_its_last_digit(tmp_path):
    new_logger(tmp_path / 'log')
    log_table(seed=1)
    _, expected = log_table(AWKWARD, seed=2, iou_metrics=('mIoU', 'mFscore'))
    *_, table = read_log(tmp_path / 'log').tables
    assert tuple(table.index) == AWKWARD
    assert list(table) == ['IoU', 'Acc', 'Fscore', 'Precision', 'Recall']
    np.testing.assert_allclose(table[['IoU', 'Acc']], expected, atol=0.00501)


def test_the_iou_of_a_class_in_neither_truth_nor_prediction_is_nan(tmp_path):
    new_logger(tmp_path / 'log')
    from mmseg.evaluation import IoUMetric

    metric = IoUMetric()
    metric.dataset_meta = dict(classes=('a', 'b'))
    import torch

    zero = torch.zeros(4, 4, dtype=torch.long)
    metric.compute_metrics([metric.intersect_and_union(zero, zero, 2, 255)])
    (table,) = read_log(tmp_path / 'log').tables
    assert table.loc['a', 'IoU'] == 100
    assert math.isnan(table.loc['b', 'IoU'])


@pytest.mark.parametrize('lines', [1, 3, 5])
def test_a_table_that_is_cut_off_is_named_and_the_one_before_stays(lines, tmp_path):
    path = tmp_path / 'log'
    new_logger(path)
    log_table(seed=1)
    whole = path.read_text()
    log_table(seed=2)
    second = path.read_text()[len(whole) :].splitlines(keepends=True)
    path.write_text(whole + ''.join(second[: 2 + lines]))
    log = read_log(path)
    assert len(log.tables) == 1
    assert [str(path) in problem and 'cut off' in problem for problem in log.problems] == [True]


def test_a_half_written_line_is_named_and_the_others_are_read(tmp_path):
    start = Start(tmp_path, segmentation_config())
    start.train(1, lr=0.5)
    start.train(2, lr=0.25)
    with open(start.scalars, 'a') as file:
        file.write('{"lr": 0.125, "iter": 3, "st')
    scalars, problems = read_scalars(start.scalars)
    assert scalars.training['lr'].to_dict() == {1: 0.5, 2: 0.25}
    assert problems == [f'{start.scalars}: line 3 is no JSON of mmengine, perhaps cut off; the line is left out']


def test_class_weights_are_read_by_quantity_module_and_any_name(tmp_path):
    start = Start(tmp_path, segmentation_config())
    start.weights(20, 'class_weight', dict.fromkeys(AWKWARD, 0.25))
    start.weights(40, 'class_weight', {AWKWARD[3]: 1.0})
    start.weights(40, 'class_share', {'0': 0.5}, module='auxiliary_head.loss_decode.1')
    classes = read_scalars(start.scalars)[0].classes
    assert set(classes) == {
        ('class_weight', 'decode_head.loss_decode'),
        ('class_share', 'auxiliary_head.loss_decode.1'),
    }
    weights = classes['class_weight', 'decode_head.loss_decode']
    assert list(weights) == list(AWKWARD)
    assert list(weights.index) == [20, 40]
    assert weights.loc[20].tolist() == [0.25] * 4
    np.testing.assert_array_equal(weights.loc[40], [math.nan] * 3 + [1])


@pytest.mark.parametrize('spelling', ['hypothetical', 'would_be'])
def test_hypothetical_weights_are_read_in_the_spelling_of_older_logs_too(spelling, tmp_path):
    start = Start(tmp_path, segmentation_config())
    start.weights(20, f'{spelling}_recall_weight', dict(road=0.25))
    start.weights(20, f'{spelling}_focal_weight', dict(road=0.75))
    classes = read_scalars(start.scalars)[0].classes
    assert {quantity: frame.loc[20, 'road'] for (quantity, _), frame in classes.items()} == {
        'hypothetical_recall_weight': 0.25,
        'hypothetical_focal_weight': 0.75,
    }


def test_hundreds_of_classes_in_any_order_come_back_as_written(tmp_path):
    start = Start(tmp_path, segmentation_config())
    rng = np.random.default_rng(0)
    written = {}
    for step in (1, 2, 3):
        names = rng.choice(300, size=250, replace=False)
        written[step] = {str(name): float(rng.random()) for name in names}
        start.weights(step, 'class_recall', written[step])
    frame = read_scalars(start.scalars)[0].classes['class_recall', 'decode_head.loss_decode']
    assert {step: frame.loc[step].dropna().to_dict() for step in frame.index} == written


def test_of_a_resumed_run_the_later_start_counts_from_its_first_iteration_on(tmp_path):
    first = Start(tmp_path, segmentation_config(), '20260101_000000')
    second = Start(tmp_path, segmentation_config(), '20260101_120000')
    for start, steps, lr in ((first, (10, 20, 30, 40), 1.0), (second, (30, 40, 50), 2.0)):
        for step in steps:
            start.train(step, lr=lr)
            start.weights(step, 'class_weight', dict(road=lr))
            start.validate(step, dict(aAcc=10 * lr))
    # what was after the checkpoint is another training's
    first.train(45, lr=1.0)
    scalars = read_run(tmp_path).scalars
    assert scalars.training['lr'].to_dict() == {10: 1, 20: 1, 30: 2, 40: 2, 50: 2}
    assert scalars.validation['aAcc'].to_dict() == {10: 10, 20: 10, 30: 20, 40: 20, 50: 20}
    weights = scalars.classes['class_weight', 'decode_head.loss_decode']
    assert weights['road'].to_dict() == {10: 1, 20: 1, 30: 2, 40: 2, 50: 2}


def training_of_starts(work_dir, begins, names, steps=20):
    """Write starts in the order of their times, each of so many iterations after the one that it was resumed from."""
    for lr, (begin, name) in enumerate(zip(begins, names, strict=True)):
        start = Start(work_dir, segmentation_config(), name)
        if begin:
            start.logger.info(f'Load checkpoint from {work_dir / f"iter_{begin}.pth"}')
            start.logger.info(f'resumed epoch: 0, iter: {begin}')
        for step in range(begin + 10, begin + steps + 1, 10):
            start.train(step, lr=float(lr))


@pytest.mark.parametrize('hours', list(itertools.permutations([1, 2, 3])))
def test_starts_are_joined_by_their_iterations_whatever_the_clock_was(hours, tmp_path):
    # the checkpoint of a signal lies between two lines of the log
    names = [f'20260101_0{hour}0000' for hour in hours]
    training_of_starts(tmp_path, (0, 25, 50), names)
    run = read_run(tmp_path)
    assert run.scalars.training['lr'].to_dict() == {10: 0, 20: 0, 35: 1, 45: 1, 60: 2, 70: 2}
    notes = [', '.join(names[:1]) in problem and 'clock' in problem for problem in run.problems]
    assert notes == ([] if hours == (1, 2, 3) else [True])


@pytest.mark.parametrize('begins', [(0, 20, 10), (0, 20, 0), (0, 0, 20)])
def test_starts_that_can_have_been_in_the_order_of_their_names_are(begins, tmp_path):
    """A resume from an older checkpoint, and another training in the same work dir."""
    training_of_starts(tmp_path, begins, [f'20260101_0{hour}0000' for hour in range(3)])
    run = read_run(tmp_path)
    assert run.scalars.training['lr'].iloc[-1] == 2
    assert run.last_step() == begins[-1] + 20
    assert not run.problems


def test_a_start_from_the_checkpoint_of_another_run_keeps_its_place(tmp_path):
    other = Start(tmp_path / 'run', segmentation_config(), '20260101_000000')
    other.logger.info(f'Load checkpoint from {tmp_path / "other" / "iter_100.pth"}')
    other.logger.info('resumed epoch: 0, iter: 100')
    other.train(110)
    Start(tmp_path / 'run', segmentation_config(), '20260101_010000').train(10)
    run = read_run(tmp_path / 'run')
    assert run.last_step() == 10
    assert not run.problems


def test_a_validation_after_an_epoch_lies_at_the_iteration_before_it(tmp_path):
    start = Start(tmp_path, segmentation_config())
    for epoch in (1, 2):
        start.train(100 * epoch)
        start.validate(epoch, dict(aAcc=epoch))
    assert read_run(tmp_path).scalars.validation['aAcc'].to_dict() == {100: 1, 200: 2}


def test_a_log_without_steps_is_of_another_version(tmp_path):
    start = write_run(tmp_path, segmentation_config(), tested=None)
    start.scalars.write_text('{"mode": "train", "epoch": 1, "loss": 1.5}\n' * 3)
    with pytest.raises(ValueError, match=r'scalars\.json: got lines without a step'):
        read_run(tmp_path)


def test_the_last_validation_has_its_classes_where_there_is_no_test(tmp_path):
    start = Start(tmp_path, segmentation_config())
    for step, seed in ((5, 1), (10, 2)):
        start.train(step)
        metrics, expected = log_table(seed=seed)
        start.validate(step, metrics)
    (result,) = read_run(tmp_path).results
    assert (result.source, result.of, result.metrics['mIoU']) == ('validation', 'iteration 10', metrics['mIoU'])
    np.testing.assert_allclose(result.classes, expected, atol=0.00501)


def test_a_table_of_another_evaluation_is_named_and_not_taken(tmp_path):
    start = Start(tmp_path, segmentation_config())
    start.train(5)
    metrics, _ = log_table(seed=1)
    start.validate(5, metrics)
    start.train(10)
    start.validate(10, metrics | dict(mIoU=metrics['mIoU'] + 1))
    run = read_run(tmp_path)
    assert run.results[0].classes is None
    assert any('another evaluation' in problem for problem in run.problems)


def test_a_resumed_run_has_the_table_of_the_validation_that_counts(tmp_path):
    """The first start went on after the checkpoint that the second, which has not been validated, began with."""
    first = Start(tmp_path, segmentation_config(), '20260101_000000')
    for step, seed in ((10, 1), (20, 2)):
        first.train(step)
        metrics, by_class = log_table(seed=seed)
        first.validate(step, metrics)
        if step == 10:
            expected = by_class
    for time in ('20260101_120000', '20260101_180000'):
        Start(tmp_path, segmentation_config(), time).train(15)
    run = read_run(tmp_path)
    assert run.results[0].of == 'iteration 10'
    np.testing.assert_allclose(run.results[0].classes, expected, atol=0.00501)
    assert not run.problems


def test_a_test_that_was_broken_off_is_named_and_the_one_before_counts(tmp_path):
    write_run(tmp_path, segmentation_config())
    (tmp_path / 'test' / '20260103_000000').mkdir()
    run = read_run(tmp_path)
    assert run.results[0].source == 'test'
    assert ['20260103_000000' in problem and 'broken off' in problem for problem in run.problems] == [True]


@pytest.mark.parametrize(
    ('schedule', 'logged', 'expected'),
    [
        (dict(max_iters=100), dict(step=40), 'iteration 40 of 100'),
        (dict(max_iters=104), dict(step=100), ''),
        (dict(max_epochs=3), dict(step=40, epoch=2), 'epoch 2 of 3'),
        (dict(max_epochs=3), dict(step=40, epoch=3), ''),
    ],
)
def test_a_training_that_has_not_reached_its_end_is_known(schedule, logged, expected, tmp_path):
    Start(tmp_path, segmentation_config() | dict(train_cfg=schedule)).train(**logged)
    assert read_run(tmp_path).unfinished() == expected


def test_without_a_seed_in_the_config_it_is_the_one_that_was_drawn(tmp_path):
    start = write_run(tmp_path, segmentation_config(seed=None))
    start.logger.info('\nSystem environment:\n    Python: 3.11\n\nRuntime environment:\n    seed: 1234\n------\n')
    assert read_run(tmp_path).seed == 1234


def test_a_path_with_spaces_is_quoted_in_the_command(tmp_path):
    work_dir = tmp_path / 'my runs' / 'ce 0'
    write_run(work_dir, segmentation_config())
    (work_dir / 'ce.py').touch()
    assert f"mmrecall train '{work_dir}/ce.py' --work-dir" in read_run(work_dir).command


def test_what_a_config_would_run_is_not_run(tmp_path):
    start = write_run(tmp_path, segmentation_config())
    with open(start.vis_data / 'config.py', 'a') as file:
        file.write(f"open({str(tmp_path / 'run')!r}, 'w')\n")
    with pytest.raises(ValueError, match='not made of plain values'):
        read_run(tmp_path)
    assert not (tmp_path / 'run').exists()


def test_validations_between_two_lines_of_the_training_keep_their_iterations(tmp_path):
    start = Start(tmp_path, segmentation_config())
    for step in range(10, 101, 10):
        if step % 50 == 0:
            start.train(step)
        if step % 20 == 0:
            start.validate(step, dict(mIoU=float(step)))
    validation = read_scalars(start.scalars)[0].validation
    assert validation['mIoU'].to_dict() == {step: float(step) for step in (20, 40, 60, 80, 100)}


def test_a_test_of_before_the_last_training_is_not_its_result(tmp_path):
    write_run(tmp_path, segmentation_config())
    again = Start(tmp_path, segmentation_config(), time='20260103_000000')
    again.train(20)
    run = read_run(tmp_path)
    assert run.results == []
    assert any('from before the last training' in problem for problem in run.problems)


@pytest.mark.parametrize('text', ['', '| Class | IoU |', '| Class | IoU |\n| a | 1 | 2 |'])
def test_a_table_that_is_none_is_named(text, tmp_path):
    border = '+-------+-----+'
    (tmp_path / 'log').write_text('\n'.join(['per class results:', border, text, border, 'x', border, '']))
    assert read_log(tmp_path / 'log').tables == []


def test_a_line_with_a_text_for_its_iteration_is_left_out(tmp_path):
    start = Start(tmp_path, segmentation_config())
    start.train(1)
    with open(start.scalars, 'a') as file:
        file.write('{"loss": 1, "iter": "x", "step": 20}\n')
    scalars, problems = read_scalars(start.scalars)
    assert list(scalars.training.index) == [1]
    assert problems == [f'{start.scalars}: 1 lines without a step are left out']
