"""The losses' benchmark and its tool as a user calls it. No assertion is about how long anything takes."""

import json
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from commands import run

from mmrecall import losses
from mmrecall.analysis.benchmark import baselines, measure, timing
from mmrecall.analysis.benchmark.baselines import (
    GPU_LOSSES,
    REFERENCE,
    Candidate,
    all_candidates,
    choose_candidates,
    naive_recall,
    plain_recall,
)
from mmrecall.analysis.benchmark.cuda_graph import CannotCaptureError, graph_seconds
from mmrecall.analysis.benchmark.figures import draw_loss_costs, draw_scaling
from mmrecall.analysis.benchmark.inputs import SHAPES, LossInput, Shape, as_entries, make_input, read_shapes
from mmrecall.analysis.benchmark.measure import copy_bandwidth, peak_bytes, roofline_seconds, seconds_of
from mmrecall.analysis.benchmark.results import Measurement, Timing, measurement_markdown, table_rows
from mmrecall.analysis.benchmark.scaling import find_scaling, fit_slope, scaling_markdown, scaling_shapes
from mmrecall.analysis.benchmark.timing import CannotMeasureError, Settings, measure_losses, refuse_out_of_bounds
from mmrecall.registry import MODELS

TOOL = 'tools/analysis_tools/benchmark_losses.py'
TINY = ['--threads', '1', '--rounds', '2']
NAMES = [candidate.name for candidate in all_candidates()]


def table(markdown):
    """Cells by loss."""
    rows = [line.strip('| ').split(' | ') for line in markdown.splitlines() if line.startswith('| ')]
    return {cells[0]: cells[1:] for cells in rows if cells[0] not in ('loss', '---')}


def candidate(name, step):
    return Candidate(name, 'mmrecall', lambda given: lambda: step(given))


def crash(given):
    raise IndexError('index 255 is out of bounds\nfor a dimension | of size 4')


def nothing(given):
    return None


REFERENCE_ALONE = choose_candidates([REFERENCE])


def measured(*others, shape=(2, 4, 8, 8), stride=1, **settings):
    return measure_losses(
        [*REFERENCE_ALONE, *others], 'tiny', Shape(shape, stride), Settings(**{'rounds': 2, **settings})
    )


def measurement_of(**seconds):
    """A measurement with these seconds; the reference takes 1, 2 and 4."""
    timings = [Timing(REFERENCE, 'PyTorch', [1.0, 2.0, 4.0], 300)]
    timings += [Timing(name, 'mmrecall', values, 125) for name, values in seconds.items()]
    return Measurement('tiny', (2, 4, 8, 8), 'float32', 'cpu', 'fresh', 100, None, timings, [])


def test_every_registered_loss_of_logits_is_measured():
    registered = {cls.__name__ for cls in MODELS.module_dict.values() if issubclass(cls, losses.BaseLoss)}
    assert registered == {name[len('mmrecall.') :].partition('(')[0] for name in NAMES if name.startswith('mmrecall.')}
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize('shape', [(2, 4, 40, 24), (1, 19, 16, 16), (30, 7), (64, 400), (1, 300, 40, 40)])
def test_the_recall_loss_is_the_same_in_all_forms(shape):
    given = make_input(shape, torch.float64, 'cpu')
    expected = losses.RecallLoss()(*given[:2], ignore_index=given.ignore_index)
    torch.testing.assert_close(naive_recall(*given[:2], given.ignore_index), expected)
    torch.testing.assert_close(plain_recall(*given[:2], given.ignore_index), expected)


@pytest.mark.parametrize('shape', [(2, 4, 64, 48), (1, 150, 64, 64), (1, 300, 64, 64), (128, 365)])
def test_a_batch_is_mostly_right_has_a_tail_and_ignores_pixels_alone(shape):
    given = make_input(shape, torch.float32, 'cpu')
    assert given.logits.shape == shape
    valid = given.target != given.ignore_index
    assert valid.double().mean().item() == (1 if len(shape) == 2 else pytest.approx(0.9, abs=0.05))
    assert given.target[valid].max() < shape[1]
    assert 0.5 < (given.logits.argmax(1) == given.target)[valid].double().mean() < 0.95
    assert given.counts[0] == 100 * given.counts[-1]
    assert (make_input(shape, torch.float32, 'cpu').logits == given.logits).all()


@pytest.mark.parametrize('shape', [(2, 4, 40, 24), (30, 7)])
@pytest.mark.parametrize('num_channels', [None, 1])
def test_the_labels_of_sigmoids_say_of_every_class_whether_it_is_the_one(shape, num_channels):
    whole = make_input(shape, torch.float32, 'cpu')
    given = as_entries(whole, num_channels)
    for channel in range(num_channels or shape[1]):
        label = given.target[:, channel]
        ignored = whole.target == whole.ignore_index
        assert torch.equal(label == whole.ignore_index, ignored)
        assert torch.equal(label == 1, whole.target == channel)
        assert torch.equal(given.logits[:, channel], whole.logits[:, channel])
    assert given.logits.shape == given.target.shape
    assert not given.low_resolution
    assert as_entries(make_input((1, 4, 16, 16), torch.float32, 'cpu', stride=2), num_channels).low_resolution


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_copy_holds_as_much_as_what_is_copied(dtype):
    tensor = torch.zeros(5, 1000, dtype=dtype)
    size = tensor.numel() * tensor.element_size()
    assert peak_bytes(tensor.clone) == size
    # two at a time, three in a row
    assert peak_bytes(lambda: tensor.clone().clone().clone()) == 2 * size
    found = measured(*choose_candidates(['copy of the logits']), dtype=str(dtype)[len('torch.') :])
    assert table_rows(found)[-1].memory == 1


def test_seconds_are_those_of_the_call(monkeypatch):
    now = iter([5.0, 7.5])
    monkeypatch.setattr(measure.time, 'perf_counter', lambda: next(now))
    assert seconds_of(lambda: None) == 2.5


@pytest.fixture
def fake_gpu(monkeypatch):
    """CUDA's clock and memory where there is none: a step takes 0.5 s, half of it on the GPU, and 1000 bytes."""

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            pass

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return 500.0

    for name in ('synchronize', 'reset_peak_memory_stats', 'empty_cache'):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda: 500)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 1500)
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(
        timing, 'make_input', lambda shape, dtype, device, stride: make_input(shape, dtype, 'cpu', stride)
    )
    monkeypatch.setattr(timing, 'graph_seconds', lambda step, replays: [0.1, 0.25, 4.0])
    monkeypatch.setattr(timing, 'copy_bandwidth', lambda device, number: 1e3)


def test_a_gpu_is_timed_by_graphs_and_events_and_its_peak_is_beyond_what_was_there(fake_gpu):
    assert seconds_of(lambda: None, 'cuda') == 0.5
    assert peak_bytes(lambda: None, 'cuda') == 1000
    found = measured(device='cuda')
    (row,) = table_rows(found)
    assert found.logits_bytes == 2048
    # 2048 bytes thrice at 1000 bytes a second
    assert row.roofline == pytest.approx(0.25 / 6.144)
    assert (row.gpu_milliseconds, row.milliseconds) == (250, 500)
    assert row.memory == pytest.approx(1000 / 2048)
    assert table(measurement_markdown(found))[REFERENCE] == ['250', '1.00', '0.04', '500', '0.49']
    assert 'roofline 6.14e+03 ms' in measurement_markdown(found)


def test_the_roofline_is_three_passes(monkeypatch):
    assert roofline_seconds(100, bandwidth=1000.0) == pytest.approx(0.3)
    monkeypatch.setattr(measure, '_COPIED', 64)
    monkeypatch.setattr(measure, 'seconds_of', lambda step, device: step() is not None and 2.0)
    # read and written
    assert copy_bandwidth('cpu', rounds=2) == 64


def test_a_loss_that_reads_out_of_bounds_is_not_tried_on_a_gpu():
    on_another_device = LossInput(torch.zeros(1, 4, 8, 8, device='meta'), torch.zeros(1, 8, 8), [4, 3, 2, 1])
    with pytest.raises(IndexError, match=r'out of bounds.*not tried on the GPU'):
        refuse_out_of_bounds(candidate('x', crash), on_another_device)

    def refuse(given):
        raise RuntimeError('only on a GPU')

    refuse_out_of_bounds(candidate('x', refuse), on_another_device)
    refuse_out_of_bounds(candidate('x', crash), make_input((1, 4, 8, 8), torch.float32, 'cpu'))


def test_a_loss_that_leaves_the_gpu_unusable_ends_the_run_with_its_name(fake_gpu, monkeypatch):
    def unusable():
        raise RuntimeError('device-side assert')

    monkeypatch.setattr(timing, 'refuse_out_of_bounds', lambda candidate, given: None)
    monkeypatch.setattr(timing, 'seconds_of', lambda step, device: step() or 0.5)
    monkeypatch.setattr(timing, 'peak_bytes', lambda step, device: 1)
    monkeypatch.setattr(torch.cuda, 'synchronize', unusable)
    with pytest.raises(CannotMeasureError, match=r'culprit has left the GPU unusable.*--losses'):
        measured(candidate('culprit', crash), device='cuda')


class FakeAllocator:
    """Remembers the calls of the allocator."""

    def __init__(self):
        self.calls = []

    def mallopt(self, option, value):
        self.calls.append((option, value))

    def malloc_trim(self, pad):
        self.calls.append('trim')


@pytest.fixture
def allocator(monkeypatch):
    fake = FakeAllocator()
    monkeypatch.setattr(measure, '_glibc', lambda: fake)
    return fake


def test_fresh_memory_is_given_back_before_every_step(allocator):
    def step(given):
        allocator.calls.append('step')

    measured(candidate('one', step), rounds=3)
    in_rounds = allocator.calls[allocator.calls.index('trim') :]
    # the reference's step is not among the calls
    assert in_rounds.count('trim') == 6
    assert all(before == 'trim' for before, now in pairwise(in_rounds) if now == 'step')


def test_reused_memory_is_never_given_back(allocator):
    measured(memory='reused')
    assert allocator.calls == [(-4, 0), (-1, 2**31 - 1)]


@pytest.mark.skipif(measure._glibc() is None, reason='no GNU C library')
@pytest.mark.parametrize('kind', measure.MEMORY)
def test_only_reused_memory_holds_what_was_in_it(kind):
    code = (
        f'import torch; from mmrecall.analysis.benchmark.measure import release_memory, set_memory\n'
        f'set_memory({kind!r})\n'
        'found = 0\n'
        'for _ in range(16):\n'
        f'    {"release_memory()" if kind == "fresh" else "pass"}\n'
        '    tensor = torch.empty(2**24)\n'
        '    found += int((tensor == 7).sum())\n'
        '    tensor.fill_(7)\n'
        '    del tensor\n'
        'print(found > 0)'
    )
    status, output = run('python', '-c', code)
    assert (status, output.split()[-1]) == (0, str(kind == 'reused'))


def test_without_glibc_only_reused_memory_cannot_be_had(monkeypatch):
    monkeypatch.setattr(measure, '_glibc', lambda: None)
    assert not measured(memory='fresh').timings[0].error
    with pytest.raises(ValueError, match="got --memory 'reused'; expected the GNU C library"):
        measured(memory='reused')


def test_a_loss_that_crashes_is_a_row_that_says_so():
    found = measured(candidate('broken', crash), candidate('fine', nothing))
    rows = table(measurement_markdown(found))
    assert list(rows) == [REFERENCE, 'broken', 'fine']
    assert rows['broken'][0] == 'IndexError: index 255 is out of bounds'
    assert [len(timing.seconds) for timing in found.timings] == [2, 0, 2]


def test_a_loss_that_crashes_later_is_a_row_too():
    calls = []

    def later(given):
        calls.append(given)
        if len(calls) == 4:
            raise ValueError('four | is enough')

    found = measured(candidate('later', later), rounds=5)
    assert found.timings[-1].error == 'ValueError: four | is enough'
    assert r'ValueError: four \| is enough' in measurement_markdown(found)
    assert len(calls) == 4


def test_a_slow_loss_is_a_row_that_says_how_slow(monkeypatch):
    monkeypatch.setattr(timing, 'seconds_of', lambda step, device: step() or 31.0)
    found = measured(candidate('slow', nothing), max_seconds=10.0)
    assert table_rows(found)[-1].error == 'TimeoutError: a step takes 31 s, more than --max-seconds 10'
    # everything is compared with the reference
    assert found.timings[0].error is None


def test_without_the_reference_there_is_nothing_to_compare_with():
    with pytest.raises(CannotMeasureError, match=r'F\.cross_entropy.*does not run here: IndexError'):
        measure_losses([candidate(REFERENCE, crash)], 'tiny', Shape((2, 4)), Settings(rounds=2))


LOW = dict(shape=(2, 4, 20, 33), stride=8)


def test_low_resolution_logits_are_interpolated_or_taken_as_they_are():
    given = make_input(LOW['shape'], torch.float32, 'cpu', LOW['stride'])
    assert given.low_resolution
    assert given.logits.shape == (2, 4, 3, 5)
    assert given.target.shape == (2, 20, 33)
    chosen = choose_candidates(['copy*', 'mmrecall.RecallLoss', 'mmrecall.SoftDiceLoss', 'mmpretrain.CrossE*'])[1:]
    found = measured(*chosen, **LOW)
    assert found.full_bytes == 4 * 2 * 4 * 20 * 33
    rows = table(measurement_markdown(found))
    assert list(rows) == ['F.interpolate + F.cross_entropy', 'mmrecall.RecallLoss', 'mmrecall.SoftDiceLoss']
    assert all(len(cells) == 5 for cells in rows.values())
    assert all(row.memory == row.peak_bytes / found.full_bytes for row in table_rows(found))
    assert 'The losses of mmpretrain accept' in measurement_markdown(found)


def test_low_resolution_in_bfloat16_runs_under_autocast():
    seen = []

    def cross_entropy(logits, target):
        one = torch.ones(1, 1)
        seen.append((logits.dtype, (one @ one).dtype == torch.bfloat16))
        return logits.sum()

    steps = baselines._steps(lambda given: cross_entropy)
    steps(make_input(LOW['shape'], torch.bfloat16, 'cpu', LOW['stride']))()
    steps(make_input(LOW['shape'], torch.bfloat16, 'cpu'))()
    assert [enabled for _, enabled in seen] == [True, False]


def test_a_loss_without_a_graph_has_a_dash_and_a_reason(fake_gpu, monkeypatch, tmp_path):
    def refuse(step, replays):
        raise CannotCaptureError('waits for the host')

    good = timing.graph_seconds
    monkeypatch.setattr(
        timing, 'graph_seconds', lambda step, replays: good(step, replays) if next(turn) else refuse(step, replays)
    )
    turn = iter([True, False])
    found = measured(candidate('waiting', nothing), device='cuda')
    text = measurement_markdown(found)
    assert table(text)['waiting'][:4] == ['—', '—', '—', '500']
    assert 'No CUDA graph of waiting: waits for the host.' in text
    draw_loss_costs(tmp_path / 'costs.png', found)


def test_losses_are_interleaved_in_changing_order():
    calls = []
    others = [candidate(name, lambda given, name=name: calls.append(name)) for name in 'abcd']
    measured(*others, rounds=6)
    # a step to see whether it runs, one for its memory
    in_rounds = [tuple(calls[start : start + 4]) for start in range(8, len(calls), 4)]
    assert len(in_rounds) == 6
    assert all(sorted(one) == list('abcd') for one in in_rounds)
    assert len(set(in_rounds)) > 1


def test_ratios_are_of_minima_and_by_round():
    row = table_rows(measurement_of(half=[0.5, 4.0, 2.0]))[1]
    assert row.ratio == 0.5
    assert row.round_ratios == pytest.approx((0.5, 0.5, 1.7))
    assert row.memory == 1.25
    assert row.roofline is None
    assert table(measurement_markdown(measurement_of(half=[0.5, 4.0, 2.0])))['half'] == [
        '500',
        '0.50',
        '0.50 (0.50-1.70)',
        '1.25',
    ]


def test_the_slope_of_a_power_law_is_found():
    sizes = [10, 40, 90, 1000]
    assert fit_slope(sizes, [3e-7 * size**1.3 for size in sizes]) == pytest.approx(1.3)
    series = [
        replace(measurement_of(cubic=[1e-9 * size**3, 5.0]), shape=(1, size, 4, 4), name=str(size))
        for size in (10, 100)
    ]
    series[0].timings.append(Timing('broken', 'mmseg', [], None, 'ValueError: no'))
    reference, cubic, broken = find_scaling(series, 'classes')
    assert cubic.slope == pytest.approx(3)
    assert cubic.sizes == [10, 100]
    assert reference.slope == pytest.approx(0, abs=1e-12)
    assert broken.slope is None
    assert table(scaling_markdown([reference, cubic, broken])) == {
        REFERENCE: ['0.00'],
        'cubic': ['3.00'],
        'broken': ['ValueError: no (10 classes)'],
    }


def test_pixels_and_classes_grow_alone():
    shapes = scaling_shapes([8, 4], [3, 6])
    assert shapes == {'pixels': [(1, 19, 4, 4), (1, 19, 8, 8)], 'classes': [(1, 3, 256, 256), (1, 6, 256, 256)]}


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            lambda: scaling_shapes([4], [3, 6]),
            r'got --sides \[4\]; expected at least two different numbers of at least 1',
        ),
        (lambda: scaling_shapes([4, 8], [1, 6]), r'got --classes \[1, 6\]; expected at least two .* at least 2'),
        (lambda: read_shapes(['4x19x512'], 'cpu'), "got --shapes '4x19x512'; expected cityscapes"),
        (lambda: read_shapes(['4x5/2'], 'cpu'), "got --shapes '4x5/2'; expected .* also with a stride"),
        (lambda: read_shapes(['4x5x8x8/0'], 'cpu'), "got --shapes '4x5x8x8/0'; expected"),
        (lambda: read_shapes(['4x1'], 'cpu'), "got --shapes '4x1'; expected .* at least 2 classes"),
        (lambda: choose_candidates(['mmseg.Crossentropy']), "got --losses 'mmseg.Crossentropy'; expected a name"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_shapes_have_names_and_a_gpu_takes_low_resolutions():
    assert {name: shape.sizes for name, shape in read_shapes(None, 'cpu').items()} == SHAPES
    on_gpu = read_shapes(None, 'cuda')
    assert {shape.stride for name, shape in on_gpu.items() if name.startswith('cityscapes-1024')} == {1, 4, 8, 16}
    assert on_gpu['ade20k-batch8/8'] == Shape((8, 150, 512, 512), 8)


def test_the_losses_of_a_gpu_are_there():
    names = [one.name for one in choose_candidates(GPU_LOSSES)]
    assert {'mmrecall.RecallLoss', 'mmrecall.LDAMLoss', 'mmrecall.LogitAdjustedLoss'} < set(names)
    assert not [name for name in names if 'Lovasz' in name]


def colored(path, color):
    """Whether a picture shows a colour."""
    return (cv2.imread(str(path))[..., ::-1] == color).all(-1).any()


def test_a_bar_is_as_long_as_its_ratio(tmp_path):
    found = measurement_of(one=[1.0] * 3, ten=[10.0] * 3, hundred=[100.0] * 3)
    without_memory = [replace(timing, peak_bytes=None) for timing in found.timings]
    draw_loss_costs(tmp_path / 'new' / 'bars.png', replace(found, timings=without_memory))
    lengths = (cv2.imread(str(tmp_path / 'new' / 'bars.png'))[..., ::-1] == (0x00, 0x72, 0xB2)).all(-1).sum(1)
    # rows of a picture that have blue, bar by bar; the last one is the legend's
    bars = [part.max() for part in np.split(lengths, np.flatnonzero(np.diff(lengths > 0)) + 1) if part.any()]
    one, ten, hundred, _ = bars
    # each ten times as slow is as much longer; the marks of the rounds and the line at 1 take some pixels
    assert hundred - ten == pytest.approx(ten - one, abs=6)
    assert ten - one > 100
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['bars.png']


def test_scaling_is_drawn_even_where_a_loss_does_not_run(tmp_path):
    series = [replace(measurement_of(), shape=(1, size, 4, 4)) for size in (10, 100)]
    for one in series:
        one.timings.append(Timing('broken', 'mmseg', [], None, 'ValueError: no'))
    draw_scaling(tmp_path / 'scaling.png', find_scaling(series, 'classes'))
    assert colored(tmp_path / 'scaling.png', (0x8A, 0x8A, 0x8A))


def test_every_loss_has_a_row_that_the_raw_times_give(repository, tmp_path):
    status, output = run('python', repository / TOOL, *TINY, '--shapes', '2x4x24x40', '8x5', '--out', tmp_path)
    assert status == 0, output
    written = json.loads((tmp_path / 'losses.json').read_text())
    assert {'command', 'versions', 'machine', 'threads', 'settings'} <= set(written)
    assert '--shapes 2x4x24x40 8x5' in written['command']
    names = []
    for text, found in zip((tmp_path / 'losses.md').read_text().split('###')[1:], written['measurements'], strict=True):
        rows = table(text)
        assert list(rows) == [timing['loss'] for timing in found['timings']]
        assert sorted(list(rows) + found['left_out']) == sorted(NAMES)
        reference = found['timings'][0]['seconds']
        for one in found['timings']:
            shown = rows[one['loss']]
            if one['error'] is not None:
                assert shown[0] == one['error'].replace('|', r'\|')
                continue
            names.append(one['loss'])
            assert len(one['seconds']) == 2
            assert shown[1] == f'{min(one["seconds"]) / min(reference):.2f}'
            assert shown[2].startswith(f'{np.median(np.divide(one["seconds"], reference)):.2f} (')
            assert shown[3] == f'{one["peak_bytes"] / found["logits_bytes"]:.2f}'
        assert (tmp_path / f'losses-{found["name"]}.png').is_file()
    assert {name for name in NAMES if name.startswith('mmrecall.')} <= set(names)


def test_scaling_is_measured_written_and_drawn(repository, tmp_path):
    status, output = run(
        'python', repository / TOOL, *TINY, '--scaling', '--sides', '8', '16', '--classes', '2', '3',
        '--losses', 'naive*', '--out', tmp_path,
    )  # fmt: skip
    assert status == 0, output
    written = json.loads((tmp_path / 'scaling.json').read_text())
    found = {(one['loss'], one['along']): one for one in written['scaling']}
    assert found['naive recall', 'pixels']['sizes'] == [64, 256]
    assert found[REFERENCE, 'classes']['sizes'] == [2, 3]
    for one in found.values():
        assert one['slope'] == pytest.approx(fit_slope(one['sizes'], one['seconds']))
    rows = table((tmp_path / 'scaling.md').read_text())
    assert rows['naive recall'][0] == f'{found["naive recall", "pixels"]["slope"]:.2f}'
    assert cv2.imread(str(tmp_path / 'scaling.png')) is not None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--rounds', '0'], 'got --rounds 0; expected a number above 0'),
        (['--losses', 'nope'], "got --losses 'nope'; expected a name"),
    ],
)
def test_wrong_arguments_are_said_in_one_line(options, message, repository, tmp_path):
    status, output = run('python', repository / TOOL, *options, '--out', tmp_path / 'x')
    assert status == 1
    assert message in output
    assert 'Traceback' not in output
    assert not (tmp_path / 'x').exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_there_is_none_to_measure(repository, tmp_path):
    status, output = run('python', repository / TOOL, '--device', 'cuda', '--out', tmp_path)
    assert status == 1
    assert 'got --device cuda, but PyTorch' in output
    assert 'Traceback' not in output


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_on_a_gpu_every_loss_of_this_package_runs(repository, tmp_path, dtype):
    status, output = run(
        'python', repository / TOOL, *TINY, '--device', 'cuda', '--dtype', dtype, '--shapes', '2x4x24x40', '8x5',
        '--out', tmp_path,
    )  # fmt: skip
    assert status == 0, output
    for found in json.loads((tmp_path / 'losses.json').read_text())['measurements']:
        assert found['bandwidth'] > 0
        assert not [row for row in found['rows'] if row['group'] == 'mmrecall' and row['error']]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_a_failed_capture_leaves_the_next_one_as_it_was():
    tensor = torch.ones(1000, device='cuda')
    with pytest.raises(CannotCaptureError, match='waits for the host'):
        graph_seconds(lambda: tensor.sum().item(), 3)
    # PyTorch's mode for operations that wait does not see this one, so the capture fails
    with pytest.raises(CannotCaptureError):
        graph_seconds(torch.cuda.synchronize, 3)
    torch.cuda.empty_cache()
    assert len(graph_seconds(lambda: tensor * 2, 3)) == 3
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
