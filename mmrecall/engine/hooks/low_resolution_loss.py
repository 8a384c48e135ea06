"""Losses of decode heads from the logits as the head computes them, without a map of the size of the labels."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrecall.engine.runner import unwrap_model
from mmrecall.registry import HOOKS, register
from mmrecall.upstream import missing


@register(HOOKS)
class LowResolutionLossHook(Hook):
    """Hook that lets the decode heads of mmseg hand their logits to the losses before these are interpolated.

    mmseg interpolates the logits of a head to the size of the labels, four- to sixteenfold, and takes the loss of the
    result. A loss with `takes_low_resolution` computes the same value and gradient without that map. The hook changes
    all decode and auxiliary heads whose losses can do so, for the training alone: the accuracy ``acc_seg`` then comes
    from the counts of the first loss of the head, and predictions are made as before.

    A head stays as it is, and the log names it with the reason, if one of its losses cannot, if its class replaces
    ``loss_by_feat`` (one that calls it through ``super()`` does not), if it has a pixel sampler, or one output channel.

    A copy or a pickle of the model that is made while it trains has the heads of before. So has the model after the
    training, unless an error ended it; then the changed heads stay, and train and predict as others do.

    Example:
        >>> custom_hooks = [dict(type='mmrecall.LowResolutionLossHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Change the heads, and name in the log those that are changed and those that are not."""
        reason = missing('mmseg.models')
        if reason is not None:
            runner.logger.warning(f'LowResolutionLossHook changes nothing: {reason}')
            return
        from mmrecall.models.low_resolution_head import decode_heads, set_low_resolution, why_full_resolution

        heads = dict(decode_heads(unwrap_model(runner)))
        if not heads:
            runner.logger.warning('LowResolutionLossHook changes nothing: the model has no decode head of mmseg')
        changed = []
        for name, head in heads.items():
            reason = why_full_resolution(head)
            set_low_resolution(head, reason is None)
            if reason is None:
                changed.append(name)
            else:
                runner.logger.info(f'{name} interpolates its logits before the loss: {reason}')
        if changed:
            runner.logger.info(
                f'Losses are taken from low-resolution logits, without a map of full size, in: {", ".join(changed)}'
            )

    def after_train(self, runner: Runner) -> None:
        """Give the heads their classes back."""
        if missing('mmseg.models') is not None:
            return
        from mmrecall.models.low_resolution_head import decode_heads, set_low_resolution

        for _, head in decode_heads(unwrap_model(runner)):
            set_low_resolution(head, False)
