"""Classification configs of this repository, made small."""

from mmengine.config import Config

SIZE = 32


def small_config(path, batch_size):
    """The config with small images, few channels and layers, small archives of CIFAR, and no workers."""
    config = Config.fromfile(path)
    hooks = config.get('custom_hooks', [])
    loaders = [hook.dataloader for hook in hooks if 'dataloader' in hook]
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader, *loaders):
        loader.update(batch_size=batch_size, num_workers=0, persistent_workers=False)
        dataset = loader.dataset.get('dataset', loader.dataset)
        # packing two paths collects the garbage of the whole process, a third of a second
        dataset.serialize_data = False
        if 'imbalance_factor' in dataset:
            dataset.imbalance_factor = 2
        for step in dataset.pipeline:
            for key in {'scale', 'crop_size'} & set(step):
                step[key] = min(step[key], SIZE)
    if config.model.backbone.type == 'mmrecall.CifarResNet':
        config.model.backbone.update(depth=20, base_channels=8)
        config.model.head.in_channels = 32
    else:
        config.model.backbone.update(stem_channels=8, base_channels=8, init_cfg=None)
        config.model.head.in_channels = 256 if config.model.backbone.depth > 34 else 64
    return config
