"""Running recalls that a skipped step leaves as they were."""

import functools
from collections.abc import Callable
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from mmrecall.datasets.class_order import some_of
from mmrecall.engine.runner import between_steps, optim_wrappers, trained_classes, unwrap_model
from mmrecall.losses import BaseLoss
from mmrecall.registry import HOOKS, register


@register(HOOKS)
class SkippedStepHook(Hook):
    """Hook that puts the running recall back when the loss scaler of ``AmpOptimWrapper`` skips the step.

    A loss moves its running recall in forward. If the gradients then overflow, the scaler leaves the weights as they
    were, and this hook the recall, as if there had been no batch; with accumulated gradients, no batch since
    the last step. It keeps a copy of C numbers a loss, and does nothing without a scaler. All ranks put the
    recall back together, because a gradient that overflowed on one is in the averaged gradients of all.

    A checkpoint that is loaded with ``load_from``, for fine-tuning, brings its running recall. Where its classes have
    other names than those of the training set, the recall starts again at 0, with a warning.

    A runner of mmengine gets this hook by itself when its model has a running recall.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Set the recalls in a checkpoint that is about to be loaded to 0 if they are of other classes."""
        known = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')
        # a test, which has built no training loop, uses no recall
        if runner._resume or known is None or not isinstance(runner._train_loop, BaseLoop):
            return
        classes = trained_classes(runner)
        if classes is None or list(known) == list(classes):
            return
        names = {
            f'{module_name}.{name}'
            for module_name, module in unwrap_model(runner).named_modules()
            if isinstance(module, BaseLoss)
            for name in module.running_statistics()
        }
        state = checkpoint.get('state_dict') or {}
        recalls = [value for name, value in state.items() if name.removeprefix('module.') in names and value.any()]
        for recall in recalls:
            recall.zero_()
        if recalls:
            runner.logger.warning(
                f'The checkpoint has a running recall of the classes {some_of(known)}; the training set has '
                f'{some_of(classes)}: the running recall starts again at 0'
            )

    def before_train(self, runner: Runner) -> None:
        """Begin to watch the optimizers."""
        wrappers = optim_wrappers(runner)
        scaled = any(hasattr(wrapper, 'loss_scaler') for wrapper in wrappers)
        self._losses = _losses(runner.model) if scaled else []
        self._before = [recall.clone() for recall in _recalls(self._losses)]
        # for each step that was not skipped, None, or the flag of a fused kernel that may have skipped the step itself
        self._steps: list[Tensor | None] = []
        # each optimizer with its original step
        self._watched = [(one.optimizer, one.optimizer.step) for one in wrappers if scaled]
        for optimizer, step in self._watched:
            optimizer.step = self._noting(optimizer, step)

    def _noting(self, optimizer: Optimizer, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step that is noted; PyTorch 2.1 forgets the hooks of optimizers once it has compiled a module."""

        @functools.wraps(step)
        def step_and_note(*args: Any, **kwargs: Any) -> Any:
            result = step(*args, **kwargs)
            self._steps.append(getattr(optimizer, 'found_inf', None))
            return result

        return step_and_note

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Put the recalls back if all steps were skipped, or else copy them."""
        if not self._before or not between_steps(runner):
            return
        stepped = any(found_inf is None or not found_inf.any() for found_inf in self._steps)
        self._steps.clear()
        # a loss may have replaced its buffer by one in float32
        for recall, before in zip(_recalls(self._losses), self._before, strict=True):
            if stepped:
                before.copy_(recall)
            else:
                recall.copy_(before)

    def after_train(self, runner: Runner) -> None:
        """Stop watching the optimizers."""
        for optimizer, step in self._watched:
            optimizer.step = step


def running_recalls(model: nn.Module) -> list[Tensor]:
    """Return the running recalls of all losses of a model."""
    return _recalls(_losses(model))


def _losses(model: nn.Module) -> list[BaseLoss]:
    return [module for module in model.modules() if isinstance(module, BaseLoss)]


def _recalls(losses: list[BaseLoss]) -> list[Tensor]:
    return [statistic for loss in losses for statistic in loss.running_statistics().values()]
