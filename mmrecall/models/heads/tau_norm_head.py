"""The τ-normalised classifier."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn
from torch.nn import functional as F

from mmrecall.functional import tau_normalize
from mmrecall.functional.validation import check_number
from mmrecall.models.first_stage import FirstStage
from mmrecall.registry import MODELS, register


@register(MODELS)
class TauNormHead(LinearClsHead):
    """τ-normalised classifier: the logit of class c is w_c·x / ‖w_c‖^τ, without a bias.

    Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, section 4.1; see
    `mmrecall.functional.tau_normalize`. For a `SecondStageClassifier`, which brings w from the first stage. Nothing is
    trained: ``train_cfg=dict(type='mmrecall.TauSelectionLoop')`` tries several τ on the data of its loader, which must
    not be the test set, and the best is kept in the checkpoint.

    Args:
        num_classes: C, the number of classes.
        in_channels: D, channels of the features.
        tau: at least 0, whatever a checkpoint says; by default the one that the loop chooses.
        options: arguments of mmpretrain's `LinearClsHead`.

    Shape:
        - feats: a tuple, of which the last is (N, D).
        - output: (N, C).

    Raises:
        ValueError: ``tau`` is negative or not finite; or in prediction, no τ is chosen yet.

    Example:
        >>> head = TauNormHead(num_classes=2, in_channels=2, tau=1.0)
        >>> with torch.no_grad():
        ...     _ = head.fc.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        ...     head((torch.tensor([[5.0, 5.0]]),))
        tensor([[7., 5.]])
    """

    # It is checkpointed, and equal on all ranks, which choose by the same global counts.
    tau: Tensor

    def __init__(self, num_classes: int, in_channels: int, tau: float | None = None, **options: Any) -> None:
        super().__init__(num_classes, in_channels, **options)
        self.fc = nn.Linear(in_channels, num_classes, bias=False).requires_grad_(False)
        self.register_buffer('tau', torch.tensor(math.nan, dtype=torch.float64))
        self.given_tau = tau
        if tau is not None:
            check_number('tau', tau)
            self.tau.fill_(tau)

    def take_classifier(self, first_stage: FirstStage) -> None:
        """Take the classifier of the first stage, whose rows are normalised."""
        first_stage.fill_classifier(self.fc)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the logits for the chosen τ."""
        tau = float(self.tau)
        if math.isnan(tau):
            raise ValueError(
                "no tau is chosen yet; train with train_cfg=dict(type='mmrecall.TauSelectionLoop'), or give the head "
                'a tau'
            )
        return self.logits(feats, [tau])[0]

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        if self.given_tau is not None:
            self.tau.fill_(self.given_tau)

    def logits(self, feats: tuple[Tensor, ...], taus: Sequence[float]) -> Tensor:
        """Return (T, N, C) logits, for each τ in their order."""
        features = self.pre_logits(feats)
        return torch.stack([F.linear(features, tau_normalize(self.fc.weight, tau)) for tau in taus])
