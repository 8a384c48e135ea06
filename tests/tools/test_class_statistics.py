"""The tool as a user calls it."""

import json

import cv2
import numpy as np
import pytest
import synthetic_data
from commands import run

CONFIG = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py'
TOOL = 'tools/analysis_tools/class_statistics.py'


def table(output):
    """Cells by class."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.strip()}


def test_camvid_is_counted_printed_written_and_drawn(repository, tmp_path):
    pytest.importorskip('mmseg')
    synthetic_data.camvid(tmp_path / 'camvid')
    out, by_image = tmp_path / 'out' / 'counts.json', tmp_path / 'by-image.npz'
    status, output = run(
        'python', repository / TOOL, repository / CONFIG, '--out', out, '--workers', '1', '--by-image', by_image,
        '--cfg-options', f'train_dataloader.dataset.data_root={tmp_path / "camvid"}',
    )  # fmt: skip
    assert status == 0, output
    labels = [cv2.imread(str(path), 0) for path in (tmp_path / 'camvid' / 'trainannot').iterdir()]
    expected = np.bincount(np.concatenate(labels).ravel(), minlength=12)
    assert json.loads(out.read_text())['counts'] == expected[:11].tolist()
    rows = table(output)
    assert rows['Sky'][0] == f'{expected[0]:,}'
    assert rows['unlabelled'] == [f'{expected[11]:,}', f'{100 * expected[11] / expected.sum():.2f}']
    assert cv2.imread(str(out.with_suffix('.png'))) is not None
    assert_the_sampler_reads(by_image, tmp_path / 'camvid', expected[:11])


def assert_the_sampler_reads(file, root, expected):
    """The counts in the file add up, and are those that the sampler finds for the same data."""
    from mmrecall.datasets import CamVidDataset, ImageCounts, data_key

    found = ImageCounts.read(file)
    np.testing.assert_array_equal(found.counts.sum(0), expected)
    loader = dict(type='mmrecall.LoadCheckedAnnotations', num_classes=11)
    folders = dict(img_path='train', seg_map_path='trainannot')
    assert found.key == data_key(CamVidDataset(data_root=str(root), data_prefix=folders, pipeline=[loader]))


def test_images_without_class_names_are_counted_by_the_heads_number(repository, tmp_path):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'list.txt').write_text('a.jpg 0\nb.jpg 2\nc.jpg 0\n')
    config = tmp_path / 'config.py'
    config.write_text(
        "default_scope = 'mmpretrain'\nmodel = dict(head=dict(num_classes=4))\n"
        "train_dataloader = dict(dataset=dict(type='CustomDataset', ann_file='list.txt',\n"
        f"  data_root='{tmp_path}', pipeline=[]))\n"
    )
    out, plot = tmp_path / 'counts.json', tmp_path / 'chart.png'
    status, output = run('python', repository / TOOL, config, '--out', out, '--plot', plot)
    assert status == 0, output
    assert json.loads(out.read_text())['counts'] == [2, 0, 1, 0]
    assert plot.is_file()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('x = 1\n', 'has no train_dataloader'),
        (
            "default_scope = 'mmseg'\ntrain_dataloader = dict(dataset=dict(type='mmrecall.CamVidDataset',\n"
            "  data_root='nowhere', data_prefix=dict(img_path='train', seg_map_path='trainannot')))\n",
            'nowhere/train is missing',
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(content, message, repository, tmp_path):
    pytest.importorskip('mmseg')
    (tmp_path / 'config.py').write_text(content)
    status, output = run('python', repository / TOOL, tmp_path / 'config.py', '--out', tmp_path / 'x.json')
    assert status == 1
    assert message in output
    assert 'Traceback' not in output
    assert not (tmp_path / 'x.json').exists()


@pytest.mark.slow
def test_the_real_camvid_has_the_known_shares(repository, tmp_path):
    pytest.importorskip('mmseg')
    data = repository / 'data' / 'CamVid'
    if not data.is_dir():
        pytest.skip(f'{data} is not there; docs/data.md says where it comes from')
    status, output = run(
        'python', repository / TOOL, repository / CONFIG, '--out', tmp_path / 'counts.json',
        '--cfg-options', f'train_dataloader.dataset.data_root={data}',
    )  # fmt: skip
    assert status == 0, output
    shares = {name: cells[1] for name, cells in table(output).items() if len(cells) > 1}
    known = {'Road': '31.66', 'Building': '23.26', 'Bicyclist': '0.29', 'unlabelled': '3.95'}
    assert {name: shares[name] for name in known} == known
