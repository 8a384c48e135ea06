"""τ-normalisation of a linear classifier."""

import torch
from torch import Tensor

from .validation import check_number


def tau_normalize(weight: Tensor, tau: float) -> Tensor:
    """Divide every row w_c of a classifier by ‖w_c‖^τ.

    τ = 0 leaves the rows as they are, τ = 1 gives them unit length, so that a class is no longer preferred for the
    length that many samples gave its row. Kang et al., "Decoupling representation and classifier for long-tailed
    recognition", ICLR 2020, section 4.1; the bias is dropped.

    Args:
        weight: (C, D), floating point.
        tau: at least 0.

    Returns:
        (C, D) in the dtype of ``weight``; a row of zeros stays one.

    Raises:
        ValueError: ``weight`` is not (C, D), or ``tau`` is negative or not finite.

    Example:
        >>> tau_normalize(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), 1.0)
        tensor([[0.6000, 0.8000],
                [0.0000, 1.0000]])
    """
    if weight.ndim != 2:
        raise ValueError(f'got weight of shape {tuple(weight.shape)}; expected (C, D)')
    check_number('tau', tau)
    lengths = torch.linalg.vector_norm(weight.double(), dim=1, keepdim=True)
    return (weight / torch.where(lengths > 0, lengths, 1.0) ** tau).to(weight.dtype)
