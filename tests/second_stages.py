"""Small first stages, and runners for the second on a folder of images."""

import os

import cv2
import synthetic_data
import torch
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmpretrain.datasets import CustomDataset
from sdn_network import CHANNELS, CLASSES, network_config

LINEAR = dict(type='LinearClsHead', num_classes=CLASSES, in_channels=CHANNELS)
ONCE = dict(type='DefaultSampler', shuffle=False, round_up=False)
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


def first_stage(root, head=None):
    """Checkpoint of a network whose weights are random, and its statistics those of random images; path and weights."""
    config = network_config()
    model = MODELS.build({**config, 'head': head or LINEAR, '_scope_': 'mmpretrain'})
    model.init_weights()
    for name, value in model.state_dict().items():
        if name.startswith('head.') and value.is_floating_point():
            value.copy_(value + 0.1 * torch.rand_like(value))
    with torch.no_grad():
        for _ in range(20):
            model.train().extract_feat(torch.randn(4, 3, 32, 32))
    path = root / 'first.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path), model.state_dict()


def second_config(head, path):
    """Of a second stage."""
    sizes = dict(num_classes=CLASSES, in_channels=CHANNELS)
    config = network_config(data_preprocessor=dict(mean=[127.0] * 3, std=[60.0] * 3))
    return {**config, 'type': 'mmrecall.SecondStageClassifier', 'first_stage': path, 'head': {**sizes, **head}}


def build_second(head, path):
    """A model of the second stage, initialised."""
    model = MODELS.build({**second_config(head, path), '_scope_': 'mmpretrain'})
    model.init_weights()
    return model


def images(root):
    """The folder, with another number of images for every class, and another brightness."""
    folder = root / 'images'
    if not folder.exists():
        synthetic_data.image_folder(folder, classes=CLASSES, images=5)
        (folder / '1' / '0.png').unlink()
        for image in range(3):
            (folder / '2' / f'{image}.png').unlink()
        for path in folder.glob('*/*.png'):
            cv2.imwrite(str(path), cv2.imread(str(path)) // (int(path.parent.name) + 1))
    return folder


def loader_config(root, sampler=ONCE):
    """Of all images, two batches on one rank."""
    dataset = dict(type='CustomDataset', data_root=str(images(root)), pipeline=PIPELINE)
    return dict(batch_size=6, num_workers=0, sampler=sampler, dataset=dataset)


def second_runner(root, head, path, train_cfg=None, sampler=ONCE, hooks=(), **options):
    """A runner with two batches of images an epoch, on this rank."""
    os.environ.setdefault('LOCAL_RANK', os.environ.get('RANK', '0'))
    return Runner(
        model=options.pop('model', None) or second_config(head, path),
        default_scope='mmpretrain',
        work_dir=str(root / 'work'),
        experiment_name=f'{root.name}_{id(options)}',
        train_dataloader=loader_config(root, sampler),
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=0.01)),
        custom_hooks=[dict(type='mmrecall.ExactResumeHook'), *hooks],
        randomness=dict(seed=1),
        log_level='WARNING',
        **options,
    )


def features(root, path):
    """Of all images by the first stage, and their labels."""
    model = build_second(dict(type='LinearClsHead'), path).eval()
    found = CustomDataset(data_root=str(images(root)), pipeline=PIPELINE)
    vectors, labels = [], []
    for item in found:
        data = model.data_preprocessor(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]))
        with torch.no_grad():
            vectors.append(model.extract_feat(data['inputs'])[-1][0])
        labels.append(int(item['data_samples'].gt_label))
    return torch.stack(vectors), labels
