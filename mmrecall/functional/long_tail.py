"""Losses that adjust the logits by the class counts of the training set.

They are LDAM, logit adjustment, balanced softmax, and balanced logit variation.
"""

import torch
from torch import Tensor

from .batch import Batch, interpolated
from .logit_adjustment import LogitAdjustment
from .statistics import full_precision_of
from .validation import check_class_counts, check_class_indices, check_number
from .weighted import fixed_weights_loss


def ldam_loss(
    logits: Tensor,
    target: Tensor,
    class_counts: Tensor,
    max_margin: float = 0.5,
    scale: float = 1.0,
    class_weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
    normalizer: str | None = None,
    upsample: str | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Compute the LDAM loss: cross entropy of scale x (z - margin_y 1[c = y]), with margins proportional to N_c^(-1/4).

    Cao et al., NeurIPS 2019, equations 12 and 13. max_margin = 0 with scale = 1 is cross entropy.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C). Margins are not defined for soft labels.
        class_counts: (C,) training samples of every class.
        max_margin: margin of the rarest class.
        scale: 1 for an ordinary classifier; the authors use 30 with a cosine classifier.
        class_weight: (C,) weights, at least 0 (deferred re-weighting).
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss; they change no divisor.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: see `weighted_cross_entropy`.
        upsample: see `weighted_cross_entropy`.
        align_corners: see `weighted_cross_entropy`.

    Returns:
        A scalar, or (N, ...) for ``reduction='none'``; float64 if the logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are not integers.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), counts of another
            length or all 0, a negative margin, a scale that is not above 0.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> ldam_loss(logits, torch.tensor([0, 1, 1]), torch.tensor([160, 10]), reduction='none')
        tensor([0.1602, 2.5789, 0.4741])
    """
    check_class_indices(target)
    check_number('scale', scale, above_zero=True)
    batch = Batch(
        logits, target, ignore_index, sample_weight, reduction, upsample=upsample, align_corners=align_corners
    )
    batch.check()
    margins = ldam_margins(class_counts, max_margin)
    _check_length(class_counts, logits)
    return fixed_weights_loss(batch, class_weight, normalizer, LogitAdjustment(scale, margins=margins))


def logit_adjusted_loss(
    logits: Tensor,
    target: Tensor,
    class_counts: Tensor,
    tau: float = 1.0,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
    normalizer: str = 'valid',
    upsample: str | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Compute the cross entropy of z + tau log pi, where pi_c = N_c / N is the prior of the training set.

    Menon et al., ICLR 2021, equation 10. Predictions are the argmax of z itself. tau = 1 is balanced softmax, tau = 0
    cross entropy. A class without training samples has probability 0, and a sample of it an infinite loss.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0.
        class_counts: (C,) training samples of every class.
        tau: at least 0.
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss; they change no divisor.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: see `weighted_cross_entropy`.
        upsample: see `weighted_cross_entropy`.
        align_corners: see `weighted_cross_entropy`.

    Returns:
        A scalar, or (N, ...) for ``reduction='none'``; float64 if the logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), counts of another
            length or all 0, a negative tau.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> logit_adjusted_loss(logits, torch.tensor([0, 1, 1]), torch.tensor([90, 10]), reduction='none')
        tensor([0.0149, 4.2122, 1.4612])
    """
    batch = Batch(
        logits, target, ignore_index, sample_weight, reduction, upsample=upsample, align_corners=align_corners
    )
    batch.check()
    offsets = logit_offsets(class_counts, tau)
    _check_length(class_counts, logits)
    return fixed_weights_loss(batch, None, normalizer, LogitAdjustment(offsets=offsets))


def balanced_softmax_loss(logits: Tensor, target: Tensor, class_counts: Tensor, **options: object) -> Tensor:
    """Compute the balanced softmax loss, `logit_adjusted_loss` with tau = 1: p_c is proportional to N_c exp(z_c).

    Ren et al., NeurIPS 2020, equation 4. Keyword options as in `logit_adjusted_loss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> balanced_softmax_loss(logits, torch.tensor([0, 1, 1]), torch.tensor([90, 10]))
        tensor(1.8961)
    """
    return logit_adjusted_loss(logits, target, class_counts, 1.0, **options)  # type: ignore[arg-type]


def balanced_logit_variation_loss(
    logits: Tensor,
    target: Tensor,
    class_counts: Tensor,
    sigma: float = 4.0,
    *,
    generator: torch.Generator | None = None,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
    normalizer: str = 'valid',
    upsample: str | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Compute the balanced logit variation loss: cross entropy of ``z_c + min(|delta|, 1) s_c``.

    Wang et al., CVPR 2023. delta is drawn from N(0, sigma) for each logit, and s_c is log(N / N_c) / max over k of
    log(N / N_k): the rarer a class, the larger the noise of its logits, up to 1. With the authors' sigma = 4,
    ``|delta|`` is above 1 in four of five draws. sigma = 0 is cross entropy. A class without training samples has the
    scale 1. Each call draws new noise, so this is the loss of a training step; outside training use
    `weighted_cross_entropy`.

    The noise is drawn by ``torch.Tensor.normal_`` in float32, or in float64 if the logits are, in the memory format of
    the logits, and becomes the noisy logits in place: one more map of the size of the logits.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0.
        class_counts: (C,) training samples of every class.
        sigma: standard deviation of delta, at least 0.
        generator: the generator of the noise, on the device of the logits; PyTorch's own if left out.
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss; they change no divisor.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: see `weighted_cross_entropy`.
        upsample: ``'bilinear'`` for logits (N, C, h, w) of a lower resolution than the target (N, H, W): they are
            interpolated first, because every pixel of the target has its own noise.
        align_corners: of the interpolation.

    Returns:
        A scalar, or (N, ...) for ``reduction='none'``; float64 if the logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), counts of another
            length or all 0, a negative sigma.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> options = dict(generator=torch.Generator().manual_seed(0), reduction='none')
        >>> balanced_logit_variation_loss(logits, torch.tensor([0, 1, 1]), torch.tensor([90, 10]), **options)
        tensor([0.3012, 1.3469, 0.1325])
    """
    batch = Batch(
        logits, target, ignore_index, sample_weight, reduction, upsample=upsample, align_corners=align_corners
    )
    batch.check()
    check_number('sigma', sigma)
    scales = logit_variation_scales(class_counts)
    _check_length(class_counts, logits)
    return fixed_weights_loss(with_variation(interpolated(batch), scales, sigma, generator), None, normalizer)


def ldam_margins(class_counts: Tensor, max_margin: float = 0.5) -> Tensor:
    """Return (C,) float64 margins proportional to N_c^(-1/4), the largest of which is ``max_margin``.

    A class without samples has the largest margin. Cao et al., NeurIPS 2019, equation 13.

    Raises:
        TypeError, ValueError: counts that are no tensor, negative, not finite, or all 0; a negative margin.

    Example:
        >>> import torch
        >>> ldam_margins(torch.tensor([160, 10]))
        tensor([0.2500, 0.5000], dtype=torch.float64)
    """
    check_class_counts(class_counts)
    check_number('max_margin', max_margin)
    counts = class_counts.double()
    rarest = counts.where(counts > 0, counts.max()).min()
    return max_margin * (rarest / counts.clamp(min=float(rarest))) ** 0.25


def logit_offsets(class_counts: Tensor, tau: float = 1.0) -> Tensor:
    """Return the (C,) float64 offsets tau log(N_c / N): minus infinity for a class without samples, unless tau is 0."""
    check_class_counts(class_counts)
    check_number('tau', tau)
    counts = class_counts.double()
    return tau * (counts / counts.sum()).log() if tau > 0 else torch.zeros_like(counts)


def logit_variation_scales(class_counts: Tensor) -> Tensor:
    """Return the (C,) float64 scales log(N / N_c) / max over k of log(N / N_k): 1 for the rarest class.

    A class without samples has the scale 1 too, and is left out of the maximum; a class with all samples has 0.
    Wang et al., CVPR 2023.

    Raises:
        TypeError, ValueError: counts that are no tensor, negative, not finite, or all 0.

    Example:
        >>> import torch
        >>> logit_variation_scales(torch.tensor([9000, 900, 99, 1]))
        tensor([0.0114, 0.2614, 0.5011, 1.0000], dtype=torch.float64)
    """
    rarity = -logit_offsets(class_counts)
    seen = class_counts > 0
    # the rarity is 0 where one class has all samples, and 0 / 0 is NaN
    scales = (rarity / torch.where(seen, rarity, 0).max()).nan_to_num(nan=0.0)
    return torch.where(seen, scales, 1.0)


def with_variation(batch: Batch, scales: Tensor, sigma: float, generator: torch.Generator | None = None) -> Batch:
    """Return the batch with min(|delta|, 1) x the (C,) scales added to its logits, delta from N(0, sigma)."""
    logits = batch.logits
    noise = torch.empty_like(logits, dtype=full_precision_of(logits.dtype))
    noise.normal_(0, float(sigma), generator=generator).abs_().clamp_(max=1)
    noise.mul_(scales.to(noise).reshape(-1, *[1] * (logits.ndim - 2)))
    # not _replace, which PyTorch 2.1 cannot compile
    return Batch(noise.add_(logits), *batch[1:])


def _check_length(class_counts: Tensor, logits: Tensor) -> None:
    if len(class_counts) != logits.shape[1]:
        raise ValueError(
            f'got {len(class_counts)} class counts for logits of shape {tuple(logits.shape)}; expected '
            f'{logits.shape[1]}, one for every class'
        )
