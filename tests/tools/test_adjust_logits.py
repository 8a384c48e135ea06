"""The tool as a user calls it, against loops from the equation, and what it refuses."""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import run
from small_training import small_camvid

from mmrecall.analysis.trained_runs import TrainedRun

ROOT = Path(__file__).parents[2]
TOOL = 'tools/analysis_tools/adjust_logits.py'
CONFIG = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-{}-1k_camvid-180x240.py'
CLASSES, IMAGES = 11, 4


def work_dir(folder, loss, seed, options):
    """Write a config and a checkpoint of random weights."""
    from mmengine.config import Config, DictAction
    from mmseg.apis import init_model

    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    config = Config.fromfile(ROOT / CONFIG.format(loss))
    config.merge_from_dict(parser.parse_args(['--options', *options]).options)
    # The test data must not be read.
    config.test_dataloader.dataset.data_root = '/missing'
    folder.mkdir()
    config.dump(folder / f'{loss}.py')
    torch.manual_seed(seed)
    model = init_model(config, device='cpu')
    # of the size that makes one pixel's class differ from the next one's
    model.decode_head.conv_seg.weight.data.normal_(std=5)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg='a = 1')), folder / 'iter_2.pth')
    (folder / 'last_checkpoint').write_text('iter_2.pth')
    return folder


@pytest.fixture(scope='module')
def segmentation(tmp_path_factory):
    """Folder with two work dirs and the small CamVid."""
    pytest.importorskip('mmseg')
    root = tmp_path_factory.mktemp('runs')
    options = small_camvid(root / 'camvid')
    for seed, loss in enumerate(('ce', 'recall')):
        work_dir(root / loss, loss, seed, options)
    return root


def logits_and_labels(folder, checkpoint, data):
    """Return the scores and the labels of the validation images, by mmseg's `inference_model`."""
    from mmengine.config import Config
    from mmseg.apis import inference_model, init_model

    config = Config.fromfile(next(folder.glob('*.py')))
    config.test_pipeline = [step for step in config.val_dataloader.dataset.pipeline if 'Annotations' not in step.type]
    model = init_model(config, device='cpu')
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    for image in sorted((data / 'val').iterdir()):
        label = cv2.imread(str(data / 'valannot' / f'{image.stem}.png'), cv2.IMREAD_UNCHANGED)
        yield inference_model(model, str(image)).seg_logits.data.double().numpy(), label


def log_priors(data):
    labels = np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (data / 'trainannot').iterdir()])
    counts = np.array([(labels == number).sum() for number in range(CLASSES)])
    return counts, np.log(counts / counts.sum())


def test_every_tau_is_evaluated_by_the_equation(segmentation, repository, tmp_path):
    status, output = run(
        'python', repository / TOOL, segmentation / 'ce', '--compare', segmentation / 'recall', '--taus', 0, 0.5, 2,
        '--fold', 0.5, '--out', tmp_path / 'out',
    )  # fmt: skip
    assert status == 0, output
    with open(tmp_path / 'out' / 'adjustment.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['model'], float(row['tau'])) for row in rows] == [
        ('ce', 0), ('ce', 0.5), ('ce', 2), ('recall', 0)
    ]  # fmt: skip
    counts, priors = log_priors(segmentation / 'camvid')
    rare = np.argsort(counts, kind='stable')[:4]
    for row, (loss, tau) in zip(rows, [('ce', 0), ('ce', 0.5), ('ce', 2), ('recall', 0)], strict=True):
        confusion = np.zeros((CLASSES, CLASSES))
        folder = segmentation / loss
        for scores, label in logits_and_labels(folder, folder / 'iter_2.pth', segmentation / 'camvid'):
            predicted = (scores - tau * priors[:, None, None]).argmax(0)
            for true, found in zip(label.ravel(), predicted.ravel(), strict=True):
                if true < CLASSES:
                    confusion[true, found] += 1
        recall = 100 * confusion.diagonal() / confusion.sum(1)
        iou = 100 * confusion.diagonal() / (confusion.sum(0) + confusion.sum(1) - confusion.diagonal())
        expected = dict(mIoU=iou.mean(), mAcc=recall.mean(), mIoU_rare=iou[rare].mean(), mAcc_rare=recall[rare].mean())
        expected['aAcc'] = 100 * confusion.diagonal().sum() / confusion.sum()
        assert {key: float(row[key]) for key in expected} == pytest.approx(expected, abs=1e-3)
    for suffix in ('png', 'svg'):
        assert (tmp_path / 'out' / f'adjustment.{suffix}').stat().st_size > 1000
    # The checkpoint with the bias predicts the same in mmseg.
    plain = logits_and_labels(segmentation / 'ce', segmentation / 'ce' / 'iter_2.pth', segmentation / 'camvid')
    folded = logits_and_labels(segmentation / 'ce', tmp_path / 'out' / 'tau0.5.pth', segmentation / 'camvid')
    for (scores, _), (adjusted, _) in zip(plain, folded, strict=True):
        np.testing.assert_allclose(adjusted, scores - 0.5 * priors[:, None, None], atol=1e-4)
    assert torch.load(tmp_path / 'out' / 'tau0.5.pth')['meta'] == dict(cfg='a = 1')


def test_nothing_is_written_for_a_model_that_is_refused(segmentation, repository, tmp_path):
    status, output = run(
        'python', repository / TOOL, segmentation / 'ce', '--fold', 1, '--taus', -1, '--out', tmp_path / 'out'
    )
    assert (status, 'tau=-1.0' in output) == (1, True), output
    assert not (tmp_path / 'out').exists()


def test_a_checkpoint_that_is_there_is_not_overwritten(segmentation, repository, tmp_path):
    (tmp_path / 'tau1.pth').write_text('kept')
    status, output = run('python', repository / TOOL, segmentation / 'ce', '--fold', 1, '--out', tmp_path)
    assert (status, 'tau1.pth is there already' in output) == (1, True), output
    assert (tmp_path / 'tau1.pth').read_text() == 'kept'


def trained(folder, **options):
    from mmrecall.analysis.logit_adjustment.trained_model import TrainedModel

    return TrainedModel(TrainedRun(folder.name, next(folder.glob('*.py')), folder / 'iter_2.pth'), options=options)


def test_a_model_whose_scores_a_bias_does_not_shift_is_refused(segmentation, monkeypatch):
    from mmseg.models.decode_heads import ASPPHead

    model = trained(segmentation / 'ce')
    plain = ASPPHead.forward
    monkeypatch.setattr(ASPPHead, 'forward', lambda self, inputs: plain(self, inputs).softmax(1))
    with pytest.raises(ValueError, match=r'are not shifted by a bias of decode_head\.conv_seg'):
        next(model.predictions())


def test_a_class_without_training_samples_and_a_wrong_number_of_counts_are_refused(segmentation):
    from mmrecall.analysis.logit_adjustment.sweep import adjusted_scores

    model = trained(segmentation / 'ce')
    with pytest.raises(ValueError, match='no training samples of Building, Road; expected some of every class'):
        adjusted_scores(model, [5, 0, 5, 0, *[5] * 7], [1])
    with pytest.raises(ValueError, match='got 3 class counts; expected 11'):
        adjusted_scores(model, [1, 2, 3], [1])
    with pytest.raises(ValueError, match=r'tau=-1\.0'):
        adjusted_scores(model, [5] * 11, [-1.0])


def test_a_config_without_validation_data_is_refused(segmentation):
    with pytest.raises(ValueError, match='has no val_dataloader'):
        trained(segmentation / 'ce', val_dataloader=None)
    with pytest.raises(ValueError, match='has one channel; expected a softmax model'):
        trained(segmentation / 'ce', **{'model.decode_head.num_classes': 2, 'model.decode_head.out_channels': 1})


@pytest.mark.parametrize('head', ['LinearClsHead', 'mmrecall.SDNHead'])
def test_a_classifier_is_adjusted_by_its_training_images(head, tmp_path):
    pytest.importorskip('mmpretrain')
    from mmengine.config import Config
    from sdn_network import CHANNELS, network_config

    from mmrecall.analysis.logit_adjustment.sweep import adjusted_scores

    rng = np.random.default_rng(0)
    counts = [40, 8, 3]
    labels = rng.integers(0, 3, 50).tolist()
    for number in range(50):
        cv2.imwrite(str(tmp_path / f'{number}.png'), rng.integers(0, 256, (32, 32, 3), np.uint8))
    (tmp_path / 'val.txt').write_text(''.join(f'{number}.png {label}\n' for number, label in enumerate(labels)))
    dataset = dict(
        type='mmpretrain.CustomDataset', data_root=str(tmp_path), ann_file='val.txt', with_label=True,
        metainfo=dict(classes=['a', 'b', 'c']),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    )  # fmt: skip
    loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
    model = {**network_config(), 'head': dict(type=head, num_classes=3, in_channels=CHANNELS)}
    config = Config(dict(default_scope='mmpretrain', model=model, val_dataloader=loader))
    config.dump(tmp_path / 'config.py')
    from mmengine.registry import MODELS

    torch.manual_seed(0)
    built = MODELS.build({**model, '_scope_': 'mmpretrain'}).eval()
    torch.save(dict(state_dict=built.state_dict()), tmp_path / 'net.pth')
    from mmrecall.analysis.logit_adjustment.trained_model import TrainedModel

    run_ = TrainedRun('net', tmp_path / 'config.py', tmp_path / 'net.pth')
    scores = adjusted_scores(TrainedModel(run_), counts, [0, 1])
    images = [cv2.imread(str(tmp_path / f'{number}.png')).transpose(2, 0, 1) for number in range(50)]
    data = built.data_preprocessor(dict(inputs=[torch.from_numpy(image.copy()) for image in images]))
    with torch.no_grad():
        logits = built(data['inputs']).double().numpy()
    for number, tau in enumerate((0, 1)):
        right = (logits - tau * np.log(np.array(counts) / 51)).argmax(1) == np.array(labels)
        assert scores.accuracy[number] == pytest.approx(100 * right.mean())
        by_class = [100 * right[np.array(labels) == label].mean() for label in range(3)]
        assert scores.recall[number].tolist() == pytest.approx(by_class)
        row = scores.rows()[number]
        assert (row['top1'], row['few']) == pytest.approx((100 * right.mean(), np.mean(by_class[1:])))
        assert row['medium'] == pytest.approx(by_class[0])
        assert np.isnan(row['many'])
