"""The classifier of BBN."""

from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrecall.registry import MODELS, register


@register(MODELS)
class BBNHead(LinearClsHead):
    """The classifier of BBN, whose training shifts gradually from uniformly sampled images to reversed sampling.

    With the features f_c of a uniform image in the conventional branch, f_r of a reversed one in the re-balancing
    branch, and a = 1 - t², with t the completed fraction of the training: z = W (2 [a f_c, (1 - a) f_r]) + b and
    loss = a L(z, y_c) + (1 - a) L(z, y_r). Prediction: z = W [f_c, f_r] + b with both features of the same image, which
    corresponds to a = 1/2. Zhou et al., "BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual
    Recognition", CVPR 2020, sections 4.3 and 4.4; factor 2 and bias are those of the authors' code.

    For a `BBN` with `CumulativeLearningHook`. A loss is called twice a step, so a running recall moves twice.

    Args:
        num_classes: C, the number of classes.
        in_channels: D, channels of one branch.
        options: ``loss``, ``topk``, ``cal_acc`` and ``init_cfg`` of mmpretrain's `LinearClsHead`. The accuracy is mixed
            as the loss is.

    Shape:
        - feats in `loss`: a tuple, of which the last is (2N, D): N of uniform images, then N of reversed ones.
        - feats in `forward`: a tuple, of which the last is (N, 2D).
        - output of `forward`: (N, C).

    Raises:
        ValueError: features of another width; in `loss`, the progress is unknown.

    Example:
        >>> head = BBNHead(num_classes=2, in_channels=1)
        >>> head.init_weights()
        >>> with torch.no_grad():
        ...     _ = head.fc.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
        >>> head.set_progress(0.5)
        >>> samples = [DataSample().set_gt_label(label) for label in (0, 1)]
        >>> head.loss((torch.tensor([[2.0], [-3.0]]),), samples)
        {'loss': tensor(0.6931, grad_fn=<AddBackward0>)}
    """

    # 1 - t² is a tensor, so that a compiled loss sees every new value. It is not checkpointed, and equal on all ranks.
    coefficient: Tensor

    def __init__(self, num_classes: int, in_channels: int, **options: Any) -> None:
        super().__init__(num_classes, 2 * in_channels, **options)
        self.in_channels = in_channels
        self.register_buffer('coefficient', torch.ones(()), persistent=False)
        self._knows_progress = False

    def set_progress(self, progress: float) -> None:
        """Set t, the share of the training that is over, from 0 to 1.

        Raises:
            ValueError: ``progress`` is no such share.
        """
        if not 0 <= progress <= 1:
            raise ValueError(f'progress is {progress}; it is the share of the training that is over, from 0 to 1')
        self.coefficient.fill_(1 - progress**2)
        self._knows_progress = True

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the logits of images that went through both branches."""
        features = self.pre_logits(feats)
        self._check_width(features, 2 * self.in_channels, 'evaluation mode')
        return self.fc(features)

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **options: Any) -> dict[str, Any]:
        """Return the mixed loss, and with ``cal_acc`` the mixed accuracy."""
        if not self._knows_progress:
            raise ValueError(
                'BBNHead does not know how much of the training is over; set '
                "custom_hooks=[dict(type='mmrecall.CumulativeLearningHook')], or call set_progress"
            )
        features = self.pre_logits(feats)
        self._check_width(features, self.in_channels, 'training mode')
        uniform, reversed_ = features.chunk(2)
        logits = self.fc(2 * torch.cat([self.coefficient * uniform, (1 - self.coefficient) * reversed_], dim=1))
        pairs = len(logits)
        of_uniform = self._get_loss(logits, data_samples[:pairs], **options)
        of_reversed = self._get_loss(logits, data_samples[pairs:], **options)
        return {name: self._mix(value, of_reversed[name]) for name, value in of_uniform.items()}

    def _mix(self, uniform: Any, reversed_: Any) -> Any:
        """Return the mix of two values, or of two lists of them, the form of accuracies."""
        if isinstance(uniform, list):
            return [self._mix(*pair) for pair in zip(uniform, reversed_, strict=True)]
        return self.coefficient * uniform + (1 - self.coefficient) * reversed_

    def _check_width(self, features: Tensor, width: int, mode: str) -> None:
        if features.shape[1] != width:
            raise ValueError(
                f'features have {features.shape[1]} channels, but BBNHead(in_channels={self.in_channels}) takes '
                f"{width} of a model in {mode}; set model.type='mmrecall.BBN', and in_channels to those of one branch"
            )
