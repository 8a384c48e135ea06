"""The small CamVid config, smaller."""

import synthetic_data


def small_camvid(root, iterations=2):
    """Make CamVid in ``root``; what follows ``--cfg-options`` for seconds of training on it."""
    synthetic_data.camvid(root)
    options = ['data_preprocessor.size=(48,64)', 'model.data_preprocessor.size=(48,64)']
    options += [f'train_cfg.{key}={iterations}' for key in ('max_iters', 'val_interval')]
    options += ['default_hooks.logger.interval=1', 'train_dataloader.batch_size=2']
    options += ['train_dataloader.dataset.pipeline.2.scale=(64,48)', 'model.backbone.base_channels=8']
    options += ['model.backbone.stem_channels=8', 'model.decode_head.in_channels=64', 'model.decode_head.channels=8']
    for split in ('train', 'val', 'test'):
        options += [f'{split}_dataloader.{key}' for key in ('num_workers=0', 'persistent_workers=False')]
        options += [f'{split}_dataloader.dataset.data_root={root}/']
    return options
