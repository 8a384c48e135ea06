"""The schedule of BBN."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmrecall.datasets import BilateralSampler
from mmrecall.registry import HOOKS, register


@register(HOOKS)
class CumulativeLearningHook(Hook):
    """Hook for cumulative learning: before every epoch it gives a `BBNHead` the completed fraction of training.

    Epoch t of T, counted from 0: t/T, from which the head takes a = 1 - (t/T)². Zhou et al., CVPR 2020, section 4.3;
    T is the number of epochs of the training, as the paper says (the authors' code divides by 100 where it trains for
    90 epochs, and by 200 for 180). The hook keeps no state, so it is right after a resume as well.

    Raises:
        ValueError: before training, the loop counts iterations, no head takes the share, or the loader has no
            `BilateralSampler`.

    Example:
        >>> custom_hooks = [dict(type='mmrecall.CumulativeLearningHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Check loop, head and sampler."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                'CumulativeLearningHook goes by epochs, but train_cfg is a '
                f'{type(runner.train_loop).__name__}; set train_cfg=dict(by_epoch=True, max_epochs=…)'
            )
        if not _heads(runner.model):
            raise ValueError(
                'CumulativeLearningHook found no head that asks for the progress; set '
                "model.head.type='mmrecall.BBNHead', or leave the hook out"
            )
        loader = runner.train_loop.dataloader
        sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
        if not isinstance(sampler, BilateralSampler):
            raise ValueError(
                f'train_dataloader.sampler is a {type(sampler).__name__}, but BBN needs uniform and reversed images in '
                "turn; set it to dict(type='mmrecall.BilateralSampler')"
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Give the heads the share of the training that is over."""
        for head in _heads(runner.model):
            head.set_progress(runner.epoch / runner.max_epochs)


def _heads(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if hasattr(module, 'set_progress')]
