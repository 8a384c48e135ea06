"""Class means in one pass."""

import torch
from mmengine.dist import all_reduce

from mmrecall.engine.hooks.class_names import some_of
from mmrecall.engine.loops.one_pass import OnePassLoop
from mmrecall.models.heads import NearestClassMeanHead
from mmrecall.registry import LOOPS, register


@register(LOOPS)
class ClassMeansLoop(OnePassLoop):
    """Gives a `NearestClassMeanHead` the mean feature of every class: one pass over the training set, on all ranks.

    The sums are taken in float64 and added up over the ranks once, at the end.

    Args:
        runner: of mmengine, whose model is a `SecondStageClassifier`.
        dataloader: of the training set, every image once, with the pipeline of the test.

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
        head = self.model.head
        sums = torch.zeros(head.num_classes, head.in_channels, dtype=torch.float64, device=head.means.device)
        counts = torch.zeros_like(head.counts)
        for features, labels in self.batches('Class means'):
            sums.index_add_(0, labels, features.double())
            counts.index_add_(0, labels, torch.ones_like(labels))
        all_reduce(sums)
        all_reduce(counts)
        if not sums.isfinite().all():
            raise ValueError('features are not finite; is the first stage one that trained without NaN?')
        head.set_means(sums, counts)
        self.runner.logger.info(f'Class means of {int(counts.sum())} images')
        if not counts.all():
            without = some_of([str(label) for label in (counts == 0).nonzero().flatten().tolist()])
            self.runner.logger.warning(f'Classes without images, which are never predicted: {without}')
