"""A real runner around a model of one layer, whose data set has nothing but labels."""

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmrecall.losses import WeightedCrossEntropyLoss

LABELS = [0, 0, 0, 0, 1, 1, 2, 0]


class Flowers(Dataset):
    """Stands for a data set of mmpretrain."""

    def __init__(self, labels=LABELS, classes=('a', 'b', 'c')):
        self.labels = labels
        self.metainfo = dict(classes=classes)

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return dict(img_path=f'{index}.jpg', gt_label=self.labels[index])

    def __getitem__(self, index):
        return dict(inputs=torch.randn(4), label=self.labels[index])


class Model(BaseModel):
    """A linear layer and a loss."""

    def __init__(self, loss):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.loss_module = loss
        self.seen = []

    def forward(self, inputs, label, mode='tensor'):
        self.seen.append(getattr(self.loss_module, 'reweighting', None))
        return dict(loss=self.loss_module(self.layer(inputs), label))


def automatic(**options):
    return WeightedCrossEntropyLoss('inverse_frequency', class_counts='auto', num_classes=3, **options)


def small_runner(root, loss, hooks=(), dataset=None, train_cfg=None, **options):
    """A runner with two batches an epoch."""
    return Runner(
        model=Model(loss),
        work_dir=str(root / 'work'),
        experiment_name=root.name,
        train_dataloader=DataLoader(dataset or Flowers(), batch_size=4),
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=list(hooks),
        log_level='WARNING',
        **options,
    )
