"""A training that is one look at a data set, without gradients."""

from collections.abc import Iterator

import torch
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from mmrecall.models.classifiers import SecondStageClassifier


class OnePassLoop(EpochBasedTrainLoop):
    """Looks at every item of its loader once, in evaluation mode and without gradients, and calls that an epoch.

    The ranks share the items and meet after the last one. A checkpoint is written then, and not before: a run that was
    killed begins anew and ends with the same.
    """

    # of the head that it is for
    head_type: type[nn.Module]

    def __init__(self, runner: Runner, dataloader: DataLoader | dict) -> None:
        super().__init__(runner, dataloader, max_epochs=1)
        _check_once(self.dataloader)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not isinstance(model, SecondStageClassifier):
            raise ValueError(
                f'{type(self).__name__} is for a SecondStageClassifier, but the model is a {type(model).__name__}; set '
                "model.type='mmrecall.SecondStageClassifier'"
            )
        if not isinstance(model.head, self.head_type):
            wanted, found = self.head_type.__name__, type(model.head).__name__
            raise ValueError(f'{type(self).__name__} is for a {wanted}, but the head is a {found}')
        self.model = model

    def run_epoch(self) -> None:
        """The pass, between the hooks of an epoch."""
        self.model.check_features()
        _check_hooks(self.runner.hooks)
        self.runner.call_hook('before_train_epoch')
        self.model.eval()
        with torch.no_grad():
            self.learn()
        for hook in self.runner.hooks:
            # an average follows the steps of an optimizer, of which there is none
            if isinstance(hook, EMAHook):
                hook.ema_model.module.load_state_dict(self.model.state_dict())
        self._iter = self._max_iters
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def learn(self) -> None:
        """What is done with the batches, and where the ranks meet."""
        raise NotImplementedError

    def batches(self, description: str) -> Iterator[tuple[Tensor, Tensor]]:
        """What the classifier gets, (N, D), and (N,) labels, by batch; after the last one, all ranks raise or none."""
        head, invalid = self.model.head, []
        console = Console(stderr=True)
        for batch in track(self.dataloader, description, console=console, disable=not is_main_process()):
            data = self.model.data_preprocessor(batch, False)
            labels = torch.cat([sample.gt_label for sample in data['data_samples']])
            valid = (labels >= 0) & (labels < head.num_classes)
            invalid += labels[~valid].tolist()
            yield head.pre_logits(self.model.extract_feat(data['inputs']))[valid], labels[valid]
        _raise_on_all_ranks(invalid, head.num_classes)


def _raise_on_all_ranks(invalid: list[int], num_classes: int) -> None:
    found = [label for of_rank in all_gather_object(invalid[:1]) for label in of_rank]
    if found:
        raise ValueError(f'an image has the label {found[0]}, but the head has classes 0 to {num_classes - 1}')


def _check_hooks(hooks: list[Hook]) -> None:
    for hook in hooks:
        if isinstance(hook, CheckpointHook) and not hook.by_epoch:
            raise ValueError(
                f'the {type(hook).__name__} counts iterations, of which there are none; set '
                'default_hooks.checkpoint.by_epoch=True, or there will be no checkpoint'
            )


def _check_once(loader: DataLoader) -> None:
    """Raise ValueError if some items would come twice, or never."""
    sampler, items = loader.sampler, len(loader.dataset)
    known = isinstance(sampler, SequentialSampler) or hasattr(sampler, 'round_up')
    repeats = getattr(sampler, 'round_up', False) and items % get_world_size()
    if not known or hasattr(sampler, 'strategy') or repeats:
        raise ValueError(
            f'{type(sampler).__name__} may draw an item twice or not at all; set '
            "train_dataloader.sampler=dict(type='DefaultSampler', shuffle=False, round_up=False)"
        )
    if loader.drop_last:
        raise ValueError('drop_last leaves items out; set train_dataloader.drop_last=False')
