"""The gradient of several losses by class, on batches of real data through a trained model."""

import copy
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

from mmrecall.analysis.display import short_names
from mmrecall.analysis.gradients.head_losses import HeadLosses, choose_head_losses
from mmrecall.analysis.gradients.logit_gradients import ClassPushes, class_pushes, gradient_by_class
from mmrecall.analysis.trained_models import model_of
from mmrecall.datasets import count_labels
from mmrecall.engine.hooks.automatic_counts import automatic_counts
from mmrecall.engine.hooks.loss_calls import LossCall, LossCalls
from mmrecall.functional import ClassStatistics, class_statistics
from mmrecall.io import load_weights

SPLITS = ('train', 'val')


class ClassGradients(NamedTuple):
    """What several losses do to the logits of one model, in the mean over the batches."""

    classes: list[str]
    statistics: ClassStatistics
    """Of all batches together."""
    pushes: dict[str, ClassPushes]
    """By loss."""
    unit: str
    """``'pixels'`` or ``'images'``."""


class GradientComparison:
    """A trained model, and the losses of several configs on what its head gives.

    The model is as in training if the data are (batch normalisation by the batch, dropout), else as in validation. A
    loss is as in training, with the class counts of the training set of ``config``; what else it keeps, a running
    recall for example, it has from the checkpoint if that has it.

    Args:
        config: of the model and the data; its own loss is the first.
        checkpoint: of the model; nothing in it is run.
        compared: configs whose losses are compared; nothing else of them is used.
        head: name in the model of the head whose losses are meant, if there are several.
        split: ``'train'`` or ``'val'``, the data loader of ``config`` that the batches are from.
        seed: of order and augmentation of the data.

    Raises:
        FileNotFoundError: the checkpoint, or a file of the data set, is missing.
        ValueError: a config without a model, such a split or such a head; a checkpoint of another model.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: str | Path,
        compared: Sequence[Config] = (),
        head: str | None = None,
        split: str = 'train',
        seed: int = 0,
    ) -> None:
        self._config, self._split, self._seed = config, split, seed
        if not config.get(f'{split}_dataloader'):
            raise ValueError(f'{config.filename} has no {split}_dataloader; choose another --split')
        for one in compared:
            if one.get('default_scope') != config.get('default_scope'):
                raise ValueError(
                    f'{one.filename} is a config of {one.get("default_scope")}, {config.filename} of '
                    f'{config.get("default_scope")}; a loss of segmentation cannot be compared with one of images'
                )
        self._model = _build(config)
        state = load_weights(self._model, checkpoint, config.filename)
        # they are given one batch by one, without the rest of the model
        self._model.requires_grad_(False)
        self._head = choose_head_losses(self._model, config.filename, head)
        others = [choose_head_losses(_build(one), one.filename, head) for one in compared]
        if head is not None and head not in [one.head for one in (self._head, *others)]:
            raise ValueError(f'--head is {head}, which is none; a head of {config.filename} is {self._head.head}')
        # not the model's own, which sees the batch when the model does
        losses = [copy.deepcopy(self._head), *others]
        names = [Path(one.filename).stem for one in (config, *compared)]
        names = short_names(names) if others else names
        if len(set(names)) < len(names):
            raise ValueError(f'two configs have the same name: {", ".join(names)}; give each once')
        self._losses = dict(zip(names, losses, strict=True))
        self.fresh = {name: _load_state(one, state) for name, one in self._losses.items()}
        self._count()

    @property
    def names(self) -> list[str]:
        """Of the losses, as short as tells the configs apart."""
        return list(self._losses)

    def _count(self) -> None:
        """Give the counts of the training set to the losses that wait for them."""
        everything = [self._model, *(loss for one in self._losses.values() for loss in one.losses.values())]
        waiting = [counts for module in everything for counts in automatic_counts(module) if not counts.known]
        if not waiting:
            return
        if not self._config.get('train_dataloader'):
            raise ValueError(
                f"{self._config.filename} has no train_dataloader, whose classes class_counts='auto' needs"
            )
        loader = self._config.train_dataloader
        ignore_index = getattr(self._model.get_submodule(self._head.head), 'ignore_index', None)
        found = count_labels(
            DATASETS.build(loader.dataset), ignore_index, waiting[0].num_classes, loader.get('num_workers', 0), True
        )
        for counts in waiting:
            counts.set(found.counts, found.image_totals)

    def measure(self, num_batches: int = 1, on_step: Callable[[], None] = lambda: None) -> ClassGradients:
        """The pushes of every loss.

        Args:
            num_batches: first batches of the split.
            on_step: called for every batch and loss.

        Raises:
            TypeError: soft labels, of mixup for example, which belong to no class alone.
            ValueError: fewer batches, a head that calls its losses several times, what a loss refuses.
        """
        loader = self._loader()
        seen: list[ClassStatistics] = []
        pushes: dict[str, list[ClassPushes]] = {name: [] for name in self._losses}
        for data in itertools.islice(loader, num_batches):
            call = self._call(data)
            logits, target, ignore_index = call.batch()
            seen.append(class_statistics(logits, target, ignore_index))
            for name, found in self._losses.items():
                pushes[name].append(_pushes(tuple(found.losses.values()), call))
                on_step()
        if len(seen) < num_batches:
            raise ValueError(
                f'the {self._split} data of {self._config.filename} are {len(seen)} batches; use --batches {len(seen)}'
            )
        return ClassGradients(
            classes=_class_names(loader.dataset, logits.shape[1]),
            statistics=ClassStatistics(*(torch.stack(counts).sum(dim=0) for counts in zip(*seen, strict=True))),
            pushes={name: _mean(found) for name, found in pushes.items()},
            unit='pixels' if logits.ndim > 2 else 'images',
        )

    def _loader(self) -> Any:
        # in this process, so that the seed decides on the augmentation too
        loader = copy.deepcopy(self._config[f'{self._split}_dataloader'])
        loader.update(num_workers=0, persistent_workers=False)
        loader.pop('prefetch_factor', None)
        set_random_seed(self._seed)
        return Runner.build_dataloader(loader, seed=self._seed)

    def _call(self, data: Any) -> LossCall:
        """What the head calls its first loss with."""
        training = self._split == 'train'
        self._model.train(training)
        losses = list(self._head.losses.values())
        for loss in losses:
            loss.train()
        calls = LossCalls(self._model, lambda module: module in losses)
        try:
            self._model._run_forward(self._model.data_preprocessor(data, training), mode='loss')
            found = list(calls)
        finally:
            calls.remove()
        if len(found) != len(losses):
            raise ValueError(
                f'the {self._head.head} of {self._config.filename} has {len(losses)} loss(es), but calls '
                f'{len(found)} times; only a head that calls each once has one gradient'
            )
        return found[0]


class PushRow(NamedTuple):
    """What one loss does to one class; shares are of 1, and of all pushes of the loss on all classes."""

    name: str
    """Of the class."""
    share: float
    """Of the class, of the labels."""
    recall: float
    """Of the model in this class; NaN if there is no label of it."""
    loss: str
    recall_push: float
    precision_push: float
    recall_push_share: float
    precision_push_share: float
    ratio: float
    """Of the recall push to the precision push; NaN if there is neither."""


def push_rows(found: ClassGradients) -> list[PushRow]:
    """A row for every loss and class, in their order."""
    support = found.statistics.support.double()
    shares = (support / support.sum()).tolist()
    recalls = (found.statistics.true_positives / support).tolist()
    rows = []
    for loss, pushes in found.pushes.items():
        total = sum(push.abs().sum() for push in pushes)
        # what is 0 / 0 has no push at all
        parts = [(push / total).nan_to_num() for push in pushes]
        columns = [*pushes, *parts, pushes.recall / pushes.precision]
        values = zip(*((column + 0.0).tolist() for column in columns), strict=True)
        for name, share, recall, row in zip(found.classes, shares, recalls, values, strict=True):
            rows.append(PushRow(name, share, recall, loss, *row))
    return rows


def _build(config: Config) -> nn.Module:
    if not config.get('model'):
        raise ValueError(f'{config.filename} has no model; give a config that trains')
    if config.get('default_scope'):
        init_default_scope(config.default_scope)
    return revert_sync_batchnorm(MODELS.build(model_of(config)))


def _load_state(found: HeadLosses, state: dict[str, Tensor]) -> list[str]:
    """Give losses what a checkpoint has of the same names and shapes; the names of what it has not, but for counts."""
    fresh = []
    for path, loss in found.losses.items():
        own = loss.state_dict()
        kept = {name: state[f'{path}.{name}'] for name in own if f'{path}.{name}' in state}
        kept = {name: tensor for name, tensor in kept.items() if tensor.shape == own[name].shape}
        loss.load_state_dict(kept, strict=False)
        counted = {id(tensor) for counts in automatic_counts(loss) for tensor in counts.buffers()}
        buffers = dict(loss.named_buffers())
        fresh += [f'{path}.{name}' for name in own if name not in kept and id(buffers.get(name)) not in counted]
    return fresh


def _pushes(losses: Sequence[nn.Module], call: LossCall) -> ClassPushes:
    logits, target, ignore_index = call.batch()
    named = list(call.arguments())[:2]
    options = {name: value for name, value in call.kwargs.items() if name not in named}

    def total(leaf: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([loss(leaf, labels, *call.args[2:], **options) for loss in losses]).sum()

    return class_pushes(gradient_by_class(total, logits, target, ignore_index))


def _mean(pushes: Sequence[ClassPushes]) -> ClassPushes:
    return ClassPushes(*(torch.stack(terms).mean(dim=0) for terms in zip(*pushes, strict=True)))


def _class_names(dataset: Any, num_classes: int) -> list[str]:
    names = getattr(dataset, 'metainfo', {}).get('classes')
    if names is None or len(names) != num_classes:
        return [str(number) for number in range(num_classes)]
    return list(names)
