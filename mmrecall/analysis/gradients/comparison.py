"""The gradients of several losses by class, on batches of real data through one trained model."""

import copy
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

from mmrecall.analysis.build_model import build_model
from mmrecall.analysis.display import short_names
from mmrecall.analysis.gradients.head_losses import HeadLosses, choose_head_losses
from mmrecall.analysis.gradients.logit_gradients import ClassGradients, class_gradients, gradient_by_class
from mmrecall.datasets import count_labels
from mmrecall.engine.hooks.class_counts_hook import automatic_counts
from mmrecall.engine.hooks.loss_calls import UPSAMPLING, LossCall, LossCalls
from mmrecall.functional import ClassStatistics, class_statistics
from mmrecall.io import load_weights

SPLITS = ('train', 'val')


class ComparedGradients(NamedTuple):
    """Gradients of several losses at the logits of one model, as means over the batches."""

    classes: list[str]
    statistics: ClassStatistics
    """Class statistics of all batches together."""
    gradients: dict[str, ClassGradients]
    """Gradients by the name of the loss."""
    unit: str
    """``'pixels'`` or ``'images'``."""
    left_out: Sequence[str] = ()
    """Losses of the model's head that were not measured, because they are not of classes: that of PIDNet's boundary."""


class GradientComparison:
    """A trained model, and the losses of several configs at the logits of its head.

    On training data the model runs as in training (dropout, batch normalisation by the batch), else as in validation.
    The losses run as in training, with the class counts of the training set of ``config``. Other state of a loss, such
    as a running recall, comes from the checkpoint if the checkpoint has it.

    Args:
        config: config of the model and the data; its loss is the first.
        checkpoint: checkpoint of the model; no code in it is run.
        compared: configs of further losses; nothing else of them is used.
        head: name in the model of the head that has the losses, needed if there are several.
        split: ``'train'`` or ``'val'``, the data loader of ``config`` that gives the batches.
        seed: seed of order and augmentation of the data.

    Attributes:
        fresh: names of the state of every loss that the checkpoint does not have, by loss.

    Raises:
        FileNotFoundError: the checkpoint or a file of the data set is missing.
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
        scope = config.get('default_scope')
        for one in compared:
            if one.get('default_scope') != scope:
                raise ValueError(
                    f'got {one.filename} of {one.get("default_scope")}; expected a config of {scope}, as is '
                    f'{config.filename}, because losses of pixels and of images cannot be compared'
                )
        self._model = build_model(config)
        state = load_weights(self._model, checkpoint, config.filename)
        # The gradient with respect to the logits does not need those of the weights.
        self._model.requires_grad_(False)
        self._head = choose_head_losses(self._model, config.filename, head)
        others = [choose_head_losses(build_model(one), one.filename, head) for one in compared]
        if head is not None and head not in [one.head for one in (self._head, *others)]:
            raise ValueError(f'got --head {head}; expected a head with a loss, such as {self._head.head}')
        # A loss is copied, because that of the model moves its state when the model runs.
        losses = [copy.deepcopy(self._head), *others]
        names = [Path(one.filename).stem for one in (config, *compared)]
        names = short_names(names) if others else names
        if len(set(names)) < len(names):
            raise ValueError(f'got two configs of the same name among {", ".join(names)}; expected different ones')
        self._losses = dict(zip(names, losses, strict=True))
        self.fresh = {name: _load_state(one, state) for name, one in self._losses.items()}
        self._count()

    @property
    def names(self) -> list[str]:
        """Names of the losses, as short as they are different."""
        return list(self._losses)

    def _count(self) -> None:
        """Give the counts of the training set to the losses with ``class_counts='auto'``."""
        everything = [self._model, *(loss for one in self._losses.values() for loss in one.losses.values())]
        waiting = [counts for module in everything for counts in automatic_counts(module) if not counts.known]
        if not waiting:
            return
        if not self._config.get('train_dataloader'):
            raise ValueError(f"{self._config.filename} has no train_dataloader, which class_counts='auto' needs")
        loader = self._config.train_dataloader
        ignore_index = getattr(self._model.get_submodule(self._head.head), 'ignore_index', None)
        found = count_labels(
            DATASETS.build(loader.dataset), ignore_index, waiting[0].num_classes, loader.get('num_workers', 0), True
        )
        for counts in waiting:
            counts.set(found.counts, found.image_totals)

    def measure(self, num_batches: int = 1, on_step: Callable[[], None] = lambda: None) -> ComparedGradients:
        """Compute the gradients of every loss.

        Args:
            num_batches: number of batches, from the first of the split on.
            on_step: function that is called for every batch and loss.

        Raises:
            TypeError: soft labels, such as those of mixup, which belong to several classes.
            ValueError: fewer batches, a head that calls its losses several times, another number of losses where each
                has logits of its own, or an error of a loss.
        """
        loader = self._loader()
        seen: list[ClassStatistics] = []
        gradients: dict[str, list[ClassGradients]] = {name: [] for name in self._losses}
        for data in itertools.islice(loader, num_batches):
            calls = self._calls(data)
            # Soft labels alone are left for the error that they raise.
            measured = [call for call in calls if call.takes_class_indices] or calls[:1]
            logits, target, ignore_index = measured[0].batch()
            seen.append(class_statistics(logits, target, ignore_index))
            for name, found in self._losses.items():
                gradients[name].append(self._gradients(name, tuple(found.losses.values()), calls, measured))
                on_step()
        if len(seen) < num_batches:
            raise ValueError(
                f'the {self._split} data of {self._config.filename} have {len(seen)} batches; set --batches {len(seen)}'
            )
        return ComparedGradients(
            classes=_class_names(loader.dataset, logits.shape[1]),
            statistics=ClassStatistics(*(torch.stack(counts).sum(dim=0) for counts in zip(*seen, strict=True))),
            gradients={name: _mean(found) for name, found in gradients.items()},
            unit='pixels' if logits.ndim > 2 else 'images',
            left_out=[
                f'{call.name} ({type(call.loss).__name__})'
                for call in calls
                if not any(call is one for one in measured)
            ],
        )

    def _gradients(
        self, name: str, losses: Sequence[nn.Module], calls: Sequence[LossCall], measured: Sequence[LossCall]
    ) -> ClassGradients:
        """Return the gradients of the losses of a config, each at the logits that the model's head gives it."""
        if len(measured) == len(calls) and all(_same_batch(call, calls[0]) for call in calls):
            return gradients_of_call(losses, calls[0])
        if len(losses) != len(calls):
            raise ValueError(
                f'got {len(losses)} loss(es) of {name}; expected {len(calls)}, because each of those of '
                f'{self._head.head} of {self._config.filename} has logits or labels of its own'
            )
        names = list(self._head.losses)
        each = [gradients_of_call([losses[names.index(call.name)]], call) for call in measured]
        return ClassGradients(*(torch.stack(terms).sum(dim=0) for terms in zip(*each, strict=True)))

    def _loader(self) -> Any:
        # In this process, the seed determines the augmentation too.
        loader = copy.deepcopy(self._config[f'{self._split}_dataloader'])
        loader.update(num_workers=0, persistent_workers=False)
        loader.pop('prefetch_factor', None)
        set_random_seed(self._seed)
        return Runner.build_dataloader(loader, seed=self._seed)

    def _calls(self, data: Any) -> list[LossCall]:
        """Return the head's calls of its losses on a batch."""
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
                f'the {self._head.head} of {self._config.filename} has {len(losses)} loss(es) and calls them '
                f'{len(found)} times; expected a head that calls each once'
            )
        return found


def _load_state(found: HeadLosses, state: dict[str, Tensor]) -> list[str]:
    """Load state of the same names and shapes into losses; return the names of other state, except class counts."""
    fresh = []
    for path, loss in found.losses.items():
        known = loss.state_dict()
        kept = {name: state[f'{path}.{name}'] for name in known if f'{path}.{name}' in state}
        kept = {name: tensor for name, tensor in kept.items() if tensor.shape == known[name].shape}
        loss.load_state_dict(kept, strict=False)
        counted = {id(tensor) for counts in automatic_counts(loss) for tensor in counts.buffers()}
        buffers = dict(loss.named_buffers())
        fresh += [f'{path}.{name}' for name in known if name not in kept and id(buffers.get(name)) not in counted]
    return fresh


def gradients_of_call(losses: Sequence[nn.Module], call: LossCall) -> ClassGradients:
    """Compute the gradients of the sum of losses, all called with the arguments of one recorded call."""
    logits, target, ignore_index = call.batch()
    # The logits have the size of the labels by now, and a loss of a toolbox knows no interpolation.
    named = [*list(call.arguments())[:2], *UPSAMPLING]
    options = {name: value for name, value in call.kwargs.items() if name not in named}

    def total(leaf: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([loss(leaf, labels, *call.args[2:], **options) for loss in losses]).sum()

    return class_gradients(gradient_by_class(total, logits, target, ignore_index))


def _same_batch(one: LossCall, other: LossCall) -> bool:
    pairs = zip(one.given, other.given, strict=True)
    return all(first.data_ptr() == second.data_ptr() and first.shape == second.shape for first, second in pairs)


def _mean(gradients: Sequence[ClassGradients]) -> ClassGradients:
    return ClassGradients(*(torch.stack(terms).mean(dim=0) for terms in zip(*gradients, strict=True)))


def _class_names(dataset: Any, num_classes: int) -> list[str]:
    names = getattr(dataset, 'metainfo', {}).get('classes')
    if names is None or len(names) != num_classes:
        return [str(number) for number in range(num_classes)]
    return list(names)
