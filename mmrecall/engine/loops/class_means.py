"""Class means in one pass."""

from mmrecall.engine.feature_pass import fill_class_means
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
        fill_class_means(self.model, self.dataloader, self.runner.logger)
