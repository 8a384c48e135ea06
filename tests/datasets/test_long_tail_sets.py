import json

import numpy as np
import pytest
import synthetic_data
import torch
from mmengine.registry import DATASETS

pytest.importorskip('mmpretrain.datasets')
from mmengine.dataset import RepeatDataset
from mmengine.runner import Runner
from mmpretrain.datasets import LoadImageFromFile

from mmrecall.datasets import ImageNetLT, INaturalist2018, LongTailList, PlacesLT, count_labels, data_key


@pytest.fixture
def images(tmp_path):
    """Write folders 0, 1, 2 of four images below data/train, and a list with 4, 1 and 2 of them."""
    synthetic_data.image_folder(tmp_path / 'data' / 'train', classes=3, images=4, size=8)
    labels = [0, 0, 0, 0, 1, 2, 2]
    lines = [f'train/{label}/{number % 4}.png {label}\n' for number, label in enumerate(labels)]
    (tmp_path / 'data' / 'train.txt').write_text(''.join(lines))
    return tmp_path / 'data'


def open_list(root, ann_file='train.txt', **options):
    return LongTailList(ann_file=ann_file, data_root=str(root), pipeline=[LoadImageFromFile()], **options)


def test_images_and_labels_come_in_the_order_of_the_list(images):
    data = open_list(images)
    assert data.get_gt_labels().tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert data[5]['img'].shape == (8, 8, 3)
    assert data[5]['img_path'] == str(images / 'train' / '2' / '1.png')
    assert open_list(images.parent, 'data/train.txt', data_prefix='data')[5]['img_path'] == data[5]['img_path']


def test_counts_and_groups_are_those_of_the_images_that_are_there(images):
    data = open_list(images, classes=['a', 'b', 'c', 'd'])
    assert data.class_counts == [4, 1, 2, 0]
    assert data.shot_groups == ['few'] * 4
    assert open_list(images, indices=[0, 1, 4]).class_counts == [2, 1, 0]
    assert open_list(images, lazy_init=True).class_counts == [4, 1, 2]


def test_names_are_the_folders_a_file_or_given(images):
    assert open_list(images).metainfo['classes'] == ('0', '1', '2')
    (images / 'classes.txt').write_text('n1\tPersian cat\nn2\tgoldfish\nn3\tbee\n')
    assert open_list(images, classes=str(images / 'classes.txt')).CLASSES == ('Persian cat', 'goldfish', 'bee')
    assert open_list(images, metainfo=dict(classes=['x', 'y', 'z'])).metainfo['classes'] == ['x', 'y', 'z']


def test_a_label_beyond_the_names_is_named(images):
    with pytest.raises(ValueError, match=r'train\.txt, line 6: train/2/1\.png has the label 2, but classes are 0 to 1'):
        open_list(images, classes=['a', 'b'])


@pytest.mark.parametrize('test_mode', [False, True])
def test_a_missing_image_is_named_with_list_and_line_when_it_is_read(test_mode, images):
    (images / 'train' / '2' / '1.png').unlink()
    data = open_list(images, test_mode=test_mode)
    assert data[4]['gt_label'] == 1
    with pytest.raises(FileNotFoundError, match=r'train/2/1\.png is missing, which .*train\.txt names in line 6'):
        data[5]


def test_another_missing_file_is_not_blamed_on_the_image(images):
    def missing_mask(_):
        raise FileNotFoundError('no mask')

    data = LongTailList(ann_file='train.txt', data_root=str(images), pipeline=[missing_mask])
    with pytest.raises(FileNotFoundError, match=r'^no mask$'):
        data[0]


SETS = [(PlacesLT, 365), (INaturalist2018, 8142), (ImageNetLT, 1000)]


@pytest.mark.parametrize(('dataset', 'num_classes'), SETS)
def test_a_published_set_has_its_number_of_classes_whatever_a_list_holds(dataset, num_classes, images):
    data = dataset(ann_file='train.txt', data_root=str(images))
    assert len(data.CLASSES) == len(data.class_counts) == num_classes
    assert data.class_counts[:4] == [4, 1, 2, 0]
    (images / 'wrong.txt').write_text(f'a.jpg {num_classes - 1}\na.jpg {num_classes}\n')
    with pytest.raises(ValueError, match=rf'wrong\.txt, line 2: a\.jpg has the label {num_classes}'):
        dataset(ann_file='wrong.txt', data_root=str(images))
    with pytest.raises(ValueError, match=f'got 2 names of classes; expected {num_classes} for {dataset.__name__}'):
        dataset(ann_file='train.txt', data_root=str(images), classes=['a', 'b'])


def test_imagenet_lt_has_the_names_of_imagenet(images):
    assert ImageNetLT(ann_file='train.txt', data_root=str(images)).CLASSES[1] == 'goldfish, Carassius auratus'


def test_inaturalist_reads_the_competitions_json(images):
    content = dict(
        images=[dict(id=1, file_name='train/0/0.png'), dict(id=2, file_name='train/1/3.png')],
        annotations=[dict(image_id=2, category_id=8141), dict(image_id=1, category_id=0)],
        categories=[dict(id=0, name='Amanita'), dict(id=8141, name='Corvus')],
    )
    (images / 'train2018.json').write_text(json.dumps(content))
    data = INaturalist2018(ann_file='train2018.json', data_root=str(images), pipeline=[LoadImageFromFile()])
    assert data.get_gt_labels().tolist() == [8141, 0]
    assert data[0]['img_path'] == str(images / 'train' / '1' / '3.png')
    assert (data.CLASSES[0], data.CLASSES[1], data.CLASSES[8141]) == ('Amanita', '1', 'Corvus')
    (images / 'train' / '1' / '3.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'train2018\.json names in annotations\[0\]'):
        data[0]


@pytest.mark.parametrize('name', ['LongTailList', 'PlacesLT', 'INaturalist2018', 'ImageNetLT'])
def test_both_spellings_of_the_type_build_it(name, images):
    for spelling in (name, f'mmrecall.{name}'):
        data = DATASETS.build(dict(type=spelling, ann_file='train.txt', data_root=str(images)))
        assert type(data).__name__ == name


def test_a_pipeline_without_scope_is_found_in_mmpretrain(images):
    data = DATASETS.build(
        dict(
            type='mmrecall.LongTailList', ann_file='train.txt', data_root=str(images),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='RandomCrop', crop_size=4), dict(type='PackInputs')],
        )
    )  # fmt: skip
    assert data[0]['inputs'].shape == (3, 4, 4)
    assert data[5]['data_samples'].gt_label.tolist() == [2]


def test_the_class_count_tools_count_a_list(images):
    data = open_list(images)
    found = count_labels(RepeatDataset(data, 3))
    assert found.counts == [12, 3, 6]
    assert found.classes == ['0', '1', '2']
    assert data_key(open_list(images)) == data_key(data)
    assert data_key(open_list(images, indices=3)) != data_key(data)


class Pixels(torch.nn.Module):
    """Backbone whose features are the pixels."""

    def forward(self, images):
        return (images.flatten(1),)


def test_a_training_counts_its_list_draws_balanced_and_reports_shot_accuracy(images, tmp_path):
    data = dict(
        type='mmrecall.LongTailList', ann_file='train.txt', data_root=str(images),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    )  # fmt: skip
    loader = dict(batch_size=4, num_workers=0, dataset=data, collate_fn=dict(type='default_collate'))
    counts = [4, 1, 2]
    runner = Runner(
        default_scope='mmpretrain',
        work_dir=str(tmp_path / 'work'),
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(type='ClsDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3),
            backbone=Pixels(),
            head=dict(
                type='LinearClsHead', num_classes=3, in_channels=3 * 8 * 8, topk=(1,),
                loss=dict(type='mmrecall.BalancedSoftmaxLoss', class_counts='auto', num_classes=3),
            ),
        ),
        train_dataloader=dict(sampler=dict(type='mmrecall.ClassProbabilitySampler', strategy='square_root'), **loader),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        val_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=False), **loader),
        val_cfg=dict(),
        val_evaluator=dict(
            type='mmrecall.ShotAccuracy', class_counts=str(images / 'train.txt'), topk=(1, 2), many=3, few=2,
            out_dir=str(tmp_path / 'out'),
        ),
        experiment_name=tmp_path.name,
    )  # fmt: skip
    runner.train()
    loss = runner.model.head.loss_module
    assert loss.class_counts.read(3).counts == counts
    scalars = runner.message_hub.log_scalars
    accuracy = {name: scalars[f'val/shot/{name}'].current() for name in ('many', 'medium', 'few')}
    top1 = scalars['val/shot/top1'].current()
    assert top1 == pytest.approx(np.average([accuracy[name] for name in ('many', 'few', 'medium')], weights=counts))
    rows = (tmp_path / 'out' / 'shot_accuracy.csv').read_text().splitlines()
    assert [row.split(',')[:5] for row in rows[1:]] == [
        ['0', '0', 'many', '4', '4'], ['1', '1', 'few', '1', '1'], ['2', '2', 'medium', '2', '2'],
    ]  # fmt: skip
