"""A training that is one look at a data set, without gradients."""

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmrecall.engine.feature_pass import check_once, renew_averages
from mmrecall.engine.runner import unwrap_model
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
        check_once(self.dataloader)
        model = unwrap_model(runner)
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
        renew_averages(self.runner)
        self._iter = self._max_iters
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def learn(self) -> None:
        """What is done with the batches, and where the ranks meet."""
        raise NotImplementedError


def _check_hooks(hooks: list[Hook]) -> None:
    for hook in hooks:
        if isinstance(hook, CheckpointHook) and not hook.by_epoch:
            raise ValueError(
                f'the {type(hook).__name__} counts iterations, of which there are none; set '
                'default_hooks.checkpoint.by_epoch=True, or there will be no checkpoint'
            )
