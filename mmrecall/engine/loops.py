"""Training loops of one pass over a data set: class means, and the choice of τ."""

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmrecall.engine.feature_pass import check_once, fill_class_means, labelled_features, renew_averages
from mmrecall.engine.runner import unwrap_model
from mmrecall.functional.validation import check_number
from mmrecall.models.classifiers import SecondStageClassifier
from mmrecall.models.heads import NearestClassMeanHead, TauNormHead
from mmrecall.registry import LOOPS, register

# the range in the paper; the authors' code goes on to 2
_TAUS = tuple(step / 10 for step in range(11))


class OnePassLoop(EpochBasedTrainLoop):
    """Training loop of one epoch, which reads every item once, in evaluation mode and without gradients.

    The ranks share the items and meet after the last one. A checkpoint is written then, and not before: a run that was
    killed starts again and ends with the same result.
    """

    head_type: type[nn.Module]
    """The head that the loop is for."""

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
        """Run the pass between the hooks of an epoch."""
        self.model.check_features()
        for hook in self.runner.hooks:
            if isinstance(hook, CheckpointHook) and not hook.by_epoch:
                raise ValueError(
                    f'the {type(hook).__name__} counts iterations, of which there are none; set '
                    'default_hooks.checkpoint.by_epoch=True, or there will be no checkpoint'
                )
        self.runner.call_hook('before_train_epoch')
        self.model.eval()
        with torch.no_grad():
            self.learn()
        renew_averages(self.runner)
        self._iter = self._max_iters
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def learn(self) -> None:
        """Go through the batches, let the ranks meet, and give the head the result."""
        raise NotImplementedError


@register(LOOPS)
class ClassMeansLoop(OnePassLoop):
    """Loop that gives a `NearestClassMeanHead` the mean feature of every class, from one pass on all ranks.

    Args:
        runner: runner of mmengine whose model is a `SecondStageClassifier`.
        dataloader: loader of the training set, every image once, with the pipeline of the test.

    Raises:
        ValueError: another head, a sampler that repeats or leaves out images, a label that is no class, or
            features that are not finite.

    Example:
        >>> train_cfg = dict(type='mmrecall.ClassMeansLoop')
        >>> sampler = dict(type='DefaultSampler', shuffle=False, round_up=False)
    """

    head_type = NearestClassMeanHead

    def learn(self) -> None:
        """Add up features and images by class."""
        fill_class_means(self.model, self.dataloader, self.runner.logger)


@register(LOOPS)
class TauSelectionLoop(OnePassLoop):
    """Loop that tries several τ of a `TauNormHead` in one pass over its data, and keeps the best.

    The best has the largest mean of the classes' accuracies; of equal ones it is the smallest. The loader is to hold
    validation images: not the test set, which the choice would spoil, and not the images of the first stage's training.

    Args:
        runner: runner of mmengine whose model is a `SecondStageClassifier`.
        dataloader: loader of the validation set, every image once.
        taus: the candidates, at least 0 each; by default 0, 0.1, …, 1.

    Raises:
        ValueError: another head, a sampler that repeats or leaves out images, no τ, one below 0, or a head that was
            built with a ``tau``.

    Example:
        >>> train_cfg = dict(type='mmrecall.TauSelectionLoop', taus=[0.0, 0.5, 1.0])
    """

    head_type = TauNormHead

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, taus: Sequence[float] = _TAUS) -> None:
        super().__init__(runner, dataloader)
        if self.model.head.given_tau is not None:
            raise ValueError(f'the head has tau={self.model.head.given_tau}; leave it out to have one chosen')
        if not taus:
            raise ValueError('got taus=[]; expected at least one number; set taus=[0.0, 0.5, 1.0], for example')
        for tau in taus:
            check_number('taus', tau)
        self.taus = sorted(taus)

    def learn(self) -> None:
        """Count the images that every τ gets right, and choose the best τ."""
        head = self.model.head
        right = torch.zeros(len(self.taus), head.num_classes, dtype=torch.long, device=head.tau.device)
        images = torch.zeros_like(right[0])
        for features, labels in labelled_features(self.model, self.dataloader, 'tau'):
            hits = head.logits((features,), self.taus).argmax(2) == labels
            right.index_add_(1, labels, hits.long())
            images.index_add_(0, labels, torch.ones_like(labels))
        all_reduce(right)
        all_reduce(images)
        there = images > 0
        accuracies = (100 * right[:, there].double() / images[there]).mean(1).tolist()
        best = self.taus[accuracies.index(max(accuracies))]
        head.tau.fill_(best)
        table = ', '.join(f'{tau:g}: {value:.2f}' for tau, value in zip(self.taus, accuracies, strict=True))
        self.runner.logger.info(f'Mean class accuracy (%) by tau on {int(images.sum())} images: {table}')
        self.runner.logger.info(f'Chosen: tau = {best:g}')
