"""The tool as a user calls it, and what it refuses."""

import argparse
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import run
from small_training import small_camvid

pytest.importorskip('mmseg')

import torch
from mmengine.config import Config, DictAction
from mmseg.apis import inference_model, init_model

from mmrecall.analysis.predictions.trained_segmentors import (
    TrainedSegmentor,
    check_comparable,
    compare_models,
    find_images,
)
from mmrecall.analysis.trained_runs import TrainedRun, find_runs
from mmrecall.cli import show_predictions
from mmrecall.cli.command_line import run_tool

ROOT = Path(__file__).parents[2]
TOOL = 'tools/analysis_tools/show_predictions.py'
CONFIG = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-{}-1k_camvid-180x240.py'


class Planted:
    """An object whose unpickling leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.fixture(scope='module')
def work_dirs(tmp_path_factory):
    """Two work dirs with a config, a checkpoint of random weights and the name of the checkpoint."""
    root = tmp_path_factory.mktemp('runs')
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    options = parser.parse_args(['--options', *small_camvid(root / 'camvid')]).options
    for loss, seed in (('ce', 1), ('recall', 2)):
        config = Config.fromfile(ROOT / CONFIG.format(loss))
        config.merge_from_dict(options)
        work_dir = root / f'{loss}-seed0'
        work_dir.mkdir()
        config.dump(work_dir / f'{loss}.py')
        torch.manual_seed(seed)
        model = init_model(config, device='cpu')
        # of the size that makes one pixel's class differ from the next one's
        model.decode_head.conv_seg.weight.data.normal_(std=10)
        model.decode_head.conv_seg.bias.data.zero_()
        meta = dict(planted=Planted(root / 'planted'))
        torch.save(dict(state_dict=model.state_dict(), meta=meta), work_dir / 'iter_2.pth')
        (work_dir / 'last_checkpoint').write_text('/where/it/was/trained/iter_2.pth')
    return [root / 'ce-seed0', root / 'recall-seed0']


@pytest.fixture
def segmentors(work_dirs):
    return [TrainedSegmentor(one, 'test') for one in find_runs([str(path) for path in work_dirs])]


def expected_predictions(work_dir, image):
    """By mmseg's `inference_model`, which reads the image alone."""
    config = Config.fromfile(next(work_dir.glob('*.py')))
    config.test_pipeline = [step for step in config.test_pipeline if 'Annotations' not in step.type]
    model = init_model(config, device='cpu')
    model.load_state_dict(torch.load(work_dir / 'iter_2.pth', weights_only=False)['state_dict'])
    return inference_model(model, str(image)).pred_sem_seg.data[0].numpy()


def test_images_are_predicted_ranked_printed_and_drawn(repository, work_dirs, tmp_path):
    status, output = run(
        'python', repository / TOOL, *work_dirs, '--images', 3, '--out', tmp_path, '--classes', 'Pole'
    )  # fmt: skip
    assert status == 0, output
    assert not (work_dirs[0].parent / 'planted').exists()
    shares = {}
    for path in sorted((work_dirs[0].parent / 'camvid' / 'test').iterdir()):
        truth = cv2.imread(str(path.parent.with_name('testannot') / f'{path.stem}.png'), 0)
        one, other = (expected_predictions(work_dir, path) for work_dir in work_dirs)
        shares[path.stem] = 100 * ((one != other) & (truth != 11)).sum() / (truth != 11).sum()
    rows = re.findall(
        r'^ +(\d{4}) +([\d.]+) +\d+, \d+ +ce( +[\d.]+){2} *\n +recall( +[\d.]+){2} *$', output, re.MULTILINE
    )
    expected = sorted(shares, key=shares.get, reverse=True)[:3]
    assert [name for name, *_ in rows] == expected
    assert [float(share) for _, share, *_ in rows] == pytest.approx([shares[name] for name in expected], abs=0.051)
    assert 0 < min(shares.values()) < max(shares.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f'{name}.png' for name in expected)


def test_scores_equal_mmsegs_metric(segmentors):
    metric = pytest.importorskip('mmseg.evaluation.metrics.iou_metric').IoUMetric
    image = compare_models(segmentors, [1])[0]
    for prediction, scores in zip(image.predictions, image.scores, strict=True):
        areas = metric.intersect_and_union(torch.tensor(prediction), torch.tensor(image.truth), 11, 255)
        theirs = metric.total_area_to_metrics(*areas, metrics=['mIoU'])
        np.testing.assert_allclose(scores.mean_iou, np.nanmean(theirs['IoU']), rtol=1e-6)
        np.testing.assert_allclose(scores.mean_accuracy, np.nanmean(theirs['Acc']), rtol=1e-6)


def test_the_most_different_images_are_kept_and_equal_ones_in_their_order(segmentors):
    every = compare_models(segmentors, range(4))
    shares = [image.disagreement for image in every]
    assert shares == sorted(shares, reverse=True)
    assert [image.name for image in compare_models(segmentors, range(4), kept=2)] == [i.name for i in every[:2]]
    same = compare_models([segmentors[0], segmentors[0]], range(4), kept=3)
    assert [(image.name, image.disagreement) for image in same] == [('0000', 0), ('0001', 0), ('0002', 0)]


def test_runs_are_work_dirs_and_pairs_in_their_order(repository, work_dirs):
    config, checkpoint = repository / CONFIG.format('focal'), work_dirs[1] / 'iter_2.pth'
    found = find_runs([str(work_dirs[0]), str(config), str(checkpoint)])
    assert [one[1:] for one in found] == [
        (work_dirs[0] / 'ce.py', work_dirs[0] / 'iter_2.pth'),
        (config, checkpoint),
    ]
    names = [run.name for run in find_runs([str(config), 'iter_1.pth', str(config), 'iter_2.pth'])]
    assert names == ['iter_1', 'iter_2']


def test_the_checkpoint_of_an_earlier_training_is_not_that_of_a_work_dir(tmp_path):
    (tmp_path / 'config.py').touch()
    # what `AtomicCheckpointHook` writes when a training begins anew
    for name in ('last_checkpoint', 'earlier_checkpoints'):
        (tmp_path / name).write_text('iter_6.pth')
    with pytest.raises(FileNotFoundError, match=r'names iter_6\.pth, which is of an earlier training'):
        find_runs([str(tmp_path)])


def test_checkpoints_of_one_name_are_told_apart_by_their_folders(repository):
    config = str(repository / CONFIG.format('focal'))
    words = [config, 'a/iter_1.pth', config, 'b/iter_1.pth']
    assert [run.name for run in find_runs(words)] == ['a', 'b']
    with pytest.raises(ValueError, match='got a run twice'):
        find_runs([*words, *words[:2]])


def test_a_data_preprocessor_beside_the_model_is_the_models(work_dirs, tmp_path):
    config = Config.fromfile(work_dirs[0] / 'ce.py')
    config.data_preprocessor = config.model.pop('data_preprocessor')
    config.data_preprocessor.mean = [1.0, 2.0, 3.0]
    config.dump(tmp_path / 'ce.py')
    segmentor = TrainedSegmentor(TrainedRun('ce', tmp_path / 'ce.py', work_dirs[0] / 'iter_2.pth'), 'test')
    assert segmentor.model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_what_is_no_run_is_named(work_dirs, tmp_path):
    config = str(work_dirs[0] / 'ce.py')
    with pytest.raises(FileNotFoundError, match='nowhere is neither a config nor the folder of a training'):
        find_runs(['nowhere'])
    with pytest.raises(FileNotFoundError, match=r'nowhere\.py is missing'):
        find_runs(['nowhere.py', 'a.pth'])
    with pytest.raises(ValueError, match='got nothing after the config'):
        find_runs([config])
    with pytest.raises(ValueError, match=r'got .*recall-seed0 after the config'):
        find_runs([config, str(work_dirs[1])])
    with pytest.raises(FileNotFoundError, match='has no config'):
        find_runs([str(tmp_path)])
    (tmp_path / 'a.py').touch()
    with pytest.raises(FileNotFoundError, match='last_checkpoint is missing'):
        find_runs([str(tmp_path)])
    (tmp_path / 'b.py').touch()
    with pytest.raises(ValueError, match=r'2 configs, a\.py, b\.py'):
        find_runs([str(tmp_path)])


def test_a_checkpoint_that_is_missing_or_of_another_model_is_named(work_dirs, tmp_path):
    config = work_dirs[0] / 'ce.py'
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth is missing'):
        TrainedSegmentor(TrainedRun('a', config, tmp_path / 'nowhere.pth'), 'test')
    weights = torch.load(work_dirs[0] / 'iter_2.pth', weights_only=False)['state_dict']
    weights['decode_head.loss_decode.counts'] = torch.zeros(3)
    torch.save(weights, tmp_path / 'weights.pth')
    TrainedSegmentor(TrainedRun('a', config, tmp_path / 'weights.pth'), 'test')
    del weights['decode_head.conv_seg.bias']
    torch.save(weights, tmp_path / 'other.pth')
    with pytest.raises(
        ValueError, match=r'other.pth does not fit .*ce.py: 1 weight.* such as decode_head\.conv_seg\.bias'
    ):
        TrainedSegmentor(TrainedRun('a', config, tmp_path / 'other.pth'), 'test')
    weights['decode_head.conv_seg.bias'] = torch.zeros(19)
    torch.save(weights, tmp_path / 'larger.pth')
    with pytest.raises(ValueError, match=r'larger.pth does not fit .*(?s:.)*size mismatch'):
        TrainedSegmentor(TrainedRun('a', config, tmp_path / 'larger.pth'), 'test')


def test_a_config_that_is_of_no_segmentation_is_named(repository, work_dirs, tmp_path):
    checkpoint = work_dirs[0] / 'iter_2.pth'
    (tmp_path / 'empty.py').write_text('x = 1\n')
    with pytest.raises(ValueError, match=r'empty\.py has no model'):
        TrainedSegmentor(TrainedRun('a', tmp_path / 'empty.py', checkpoint), 'test')
    with pytest.raises(ValueError, match='has no val_dataloader'):
        TrainedSegmentor(TrainedRun('a', work_dirs[0] / 'ce.py', checkpoint), 'val', options=dict(val_dataloader=None))
    pytest.importorskip('mmpretrain')
    config = repository / 'configs' / 'resnet' / 'resnet18w16_1xb128-ce-10e_cifar10-lt.py'
    with pytest.raises(ValueError, match='of a ImageClassifier; expected a segmentation model'):
        TrainedSegmentor(TrainedRun('a', config, checkpoint), 'test')


def test_runs_with_other_classes_or_images_are_named(work_dirs, segmentors):
    first = segmentors[0]
    key = 'test_dataloader.dataset'
    fewer = TrainedSegmentor(first.run, 'test', options={f'{key}.metainfo': dict(classes=('Sky', 'Road'))})
    with pytest.raises(ValueError, match=r'different classes or .*, \[Sky, Building.*\] and \[Sky, Road'):
        check_comparable([*segmentors, fewer])
    half = TrainedSegmentor(first.run, 'test', options={f'{key}.indices': 2})
    with pytest.raises(ValueError, match='different images, 4 and 2, and 0002 is in one of them alone'):
        check_comparable([*segmentors, half])
    with pytest.raises(ValueError, match=r'got class .* expected the 2 classes'):
        fewer.predict(0)


def test_other_labels_of_the_same_image_and_labels_of_no_class_are_named(work_dirs, segmentors, tmp_path):
    first = segmentors[0]
    data_root = work_dirs[0].parent / 'camvid'
    shutil.copytree(data_root / 'testannot', tmp_path / 'testannot')
    (tmp_path / 'test').symlink_to(data_root / 'test')
    label = next((tmp_path / 'testannot').glob('0000*'))
    cv2.imwrite(str(label), np.roll(cv2.imread(str(label), 0), 1, axis=1))
    other = TrainedSegmentor(first.run, 'test', options={'test_dataloader.dataset.data_root': f'{tmp_path}/'})
    check_comparable([first, other])
    with pytest.raises(ValueError, match=r'0000 has different labels in .*ce\.py and'):
        compare_models([first, other], [0])
    options = {'test_dataloader.dataset.ignore_index': 10}
    with pytest.raises(
        ValueError, match=r'got class 255 in the labels of .*0000\.jpg; .* or 10 for an unlabelled pixel'
    ):
        TrainedSegmentor(first.run, 'test', options=options).predict(0)


def test_labels_that_cannot_be_compared_are_named(segmentors):
    run, key = segmentors[0].run, 'test_dataloader.dataset.pipeline'
    steps = Config.fromfile(run.config).test_pipeline
    unlabelled = TrainedSegmentor(run, 'test', options={key: [steps[0], steps[1], steps[3]]})
    with pytest.raises(ValueError, match='loads no labels'):
        unlabelled.predict(0)
    resized = TrainedSegmentor(run, 'test', options={key: [steps[0], steps[2], steps[1], steps[3]]})
    with pytest.raises(
        ValueError, match=r'got labels of size \(180, 240\) and a prediction of size \(48, 64\) for .*0000.jpg'
    ):
        resized.predict(0)


def test_images_are_found_by_the_ends_of_their_paths():
    paths = ['data/test/a/0001.png', 'data/test/b/0001.png', 'data/test/b/10001.png']
    assert find_images(['b/0001', '10001.png', 'data/test/b/0001.png'], paths) == [1, 2]
    with pytest.raises(ValueError, match=r'0001 is the name of 2 images.*a/0001.*b/0001'):
        find_images(['0001'], paths)
    with pytest.raises(ValueError, match='10002 is none of the 3 images; similar names are 10001'):
        find_images(['10002'], paths)


def test_bad_arguments_are_named(work_dirs, monkeypatch):
    def output(*arguments):
        monkeypatch.setattr('sys.argv', [TOOL, *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            run_tool(show_predictions)
        return exited.value.code

    assert 'got one run' in output(work_dirs[0])
    assert 'got --images 0' in output(*work_dirs, '--images', 0)
    assert 'got --classes Lamp; expected classes of the data set: Sky,' in output(*work_dirs, '--classes', 'Lamp')
    assert '9999 is none of the 4 images' in output(*work_dirs, '--select', '9999')
