"""A pass over a data set without gradients, for the features of every image."""

from collections.abc import Iterator

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size, is_main_process
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from mmrecall.datasets.class_order import some_of
from mmrecall.engine.runner import unwrap_model


def check_once(loader: DataLoader, name: str = 'train_dataloader') -> None:
    """Raise ValueError if a loader may yield an item twice or not at all."""
    sampler, items = loader.sampler, len(loader.dataset)
    known = isinstance(sampler, SequentialSampler) or hasattr(sampler, 'round_up')
    repeats = getattr(sampler, 'round_up', False) and items % get_world_size()
    if not known or hasattr(sampler, 'strategy') or repeats:
        raise ValueError(
            f'{type(sampler).__name__} may draw an item twice or not at all; set '
            f"{name}.sampler=dict(type='DefaultSampler', shuffle=False, round_up=False)"
        )
    if loader.drop_last:
        raise ValueError(f'drop_last leaves items out; set {name}.drop_last=False')


def labelled_features(model: nn.Module, loader: DataLoader, description: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for every batch of this rank, (N, D) inputs of an `ImageClassifier`'s head and their (N,) labels.

    After the last batch the ranks meet, and all raise ValueError if one had a label that is no class.
    """
    num_classes, invalid = model.head.num_classes, []
    console = Console(stderr=True)
    for batch in track(loader, description, console=console, disable=not is_main_process()):
        data = model.data_preprocessor(batch, False)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        valid = (labels >= 0) & (labels < num_classes)
        invalid += labels[~valid].tolist()
        yield model.head.pre_logits(model.extract_feat(data['inputs']))[valid], labels[valid]
    found = [label for of_rank in all_gather_object(invalid[:1]) for label in of_rank]
    if found:
        raise ValueError(f'an image has the label {found[0]}, but the head has classes 0 to {num_classes - 1}')


def fill_class_means(model: nn.Module, loader: DataLoader, logger: MMLogger) -> None:
    """Give a head with ``set_means`` the mean feature of every class over all ranks.

    The sums are in float64, and are added up over the ranks once, at the end.

    Raises:
        ValueError: on all ranks, a label that is no class, or features that are not finite.
    """
    head = model.head
    sums = torch.zeros(head.num_classes, head.in_channels, dtype=torch.float64, device=head.counts.device)
    counts = torch.zeros_like(head.counts)
    for features, labels in labelled_features(model, loader, 'Class means'):
        sums.index_add_(0, labels, features.double())
        counts.index_add_(0, labels, torch.ones_like(labels))
    all_reduce(sums)
    all_reduce(counts)
    if not sums.isfinite().all():
        raise ValueError('features are not finite; is the first stage one that trained without NaN?')
    head.set_means(sums, counts)
    logger.info(f'Class means of {int(counts.sum())} images')
    if not counts.all():
        without = some_of([str(label) for label in (counts == 0).nonzero().flatten().tolist()])
        logger.warning(f'Classes without images, which have no mean: {without}')


def renew_averages(runner: Runner) -> None:
    """Restart the averages of every `EMAHook` from the model, which a pass has changed without an optimizer."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.ema_model.module.load_state_dict(unwrap_model(runner).state_dict())
