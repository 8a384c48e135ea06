"""The recall loss and its class weights (Tian et al., "Striking the Right Balance", ICRA 2022)."""

import torch
from torch import Tensor

from .batch import Batch
from .statistics import ClassStatistics, widest_float
from .validation import check_choice, check_number, check_per_class, check_per_label, check_tversky_weights
from .weighted import check_call, compute, given_weights, statistics_of, update

METRICS = ('recall', 'precision', 'f1', 'dice', 'iou', 'jaccard', 'tversky')

# Boolean row of the paper's Table I: metric = TP / (TP + a FP + b FN)
_ERROR_WEIGHTS = {
    'recall': (0.0, 1.0),
    'precision': (1.0, 0.0),
    'f1': (0.5, 0.5),
    'dice': (0.5, 0.5),
    'iou': (1.0, 1.0),
    'jaccard': (1.0, 1.0),
}


def recall_weights(
    statistics: ClassStatistics,
    metric: str = 'recall',
    fn_floor: float = 0.0,
    tversky_weights: tuple[float, float] = (0.5, 0.5),
) -> Tensor:
    """Return the weight of every class, its false-negative rate w_c = FN_c / N_c = 1 - recall_c (equation 5).

    The other metrics, w_c = 1 - TP_c / (TP_c + a FP_c + b FN_c) (Table I, Boolean row), are an ablation: with false
    positives in the weight, a class that is predicted too often is encouraged further, and its false positives grow
    (section III-C). A class that is never predicted has precision 0 and weight 1.

    Args:
        statistics: counts of the batch, from `class_statistics` or `class_losses`.
        metric: ``'recall'``; or ``'precision'``, ``'f1'`` (= ``'dice'``), ``'iou'`` (= ``'jaccard'``), ``'tversky'``.
        fn_floor: at least so many false negatives are assumed; 1 is what the authors' code does, so that a class
            with every prediction right keeps the weight 1 / N_c. Only for the recall.
        tversky_weights: (a, b), the weights of false positives and of false negatives in ``'tversky'``.

    Returns:
        (C,) float64 weights; 0 for a class without support.

    Raises:
        ValueError: an unknown metric, a negative floor or weight, a floor for another metric than the recall, another
            metric for statistics without predictions.

    Example:
        >>> import torch
        >>> counts = ClassStatistics(torch.tensor([8, 2, 0]), torch.tensor([9, 1, 0]), torch.tensor([8, 1, 0]))
        >>> recall_weights(counts)
        tensor([0.0000, 0.5000, 0.0000], dtype=torch.float64)
        >>> recall_weights(counts, fn_floor=1)
        tensor([0.1250, 0.5000, 0.0000], dtype=torch.float64)
        >>> recall_weights(counts, metric='precision')
        tensor([0.1111, 0.0000, 0.0000], dtype=torch.float64)
    """
    check_weighting(metric, fn_floor, tversky_weights)
    dtype = widest_float(statistics.support.device)
    support, true_positives = statistics.support.to(dtype), statistics.true_positives.to(dtype)
    false_negatives = support - true_positives
    if metric == 'recall':
        divisor = support.clamp(min=torch.finfo(support.dtype).tiny)
        if fn_floor == 0:
            return false_negatives / divisor
        return torch.where(support > 0, false_negatives.clamp(min=fn_floor) / divisor, 0)
    if statistics.predicted is None:
        raise ValueError(
            f'got statistics without predictions for metric={metric!r}; expected the number of samples that are '
            'predicted as every class'
        )
    predicted = statistics.predicted.to(dtype)
    a, b = tversky_weights if metric == 'tversky' else _ERROR_WEIGHTS[metric]
    denominator = true_positives + a * (predicted - true_positives) + b * false_negatives
    score = torch.where(denominator > 0, true_positives / denominator.where(denominator > 0, 1), 0)
    return torch.where(support > 0, (1 - score).clamp(min=0), 0)


def class_recall(statistics: ClassStatistics) -> Tensor:
    """Return the recall TP_c / N_c of every class, (C,) float64; 0 without support."""
    support, dtype = statistics.support, widest_float(statistics.support.device)
    smallest = torch.finfo(support.dtype).tiny if support.is_floating_point() else 1
    return statistics.true_positives.to(dtype) / support.clamp(min=smallest)


def recall_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    metric: str = 'recall',
    fn_floor: float = 0.0,
    reduction: str = 'mean',
    normalizer: str = 'valid',
    recall: Tensor | None = None,
    upsample: str | None = None,
    align_corners: bool = False,
    use_sigmoid: bool = False,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the cross entropy with every class weighted by its false-negative rate in this batch (equation 5).

    loss = -sum over n of (1 - R_y(n)) log p_n(y_n), with R_c = TP_c / N_c. The weights carry no gradient; classes
    that are absent from the batch contribute nothing. All counts are of the tensors given: in distributed training
    use `mmrecall.losses.RecallLoss`, which counts over all ranks.

    With ``use_sigmoid`` every channel is such a problem of two classes: entries of label 1 are weighted by the
    false-negative rate of label 1, those of label 0 by that of label 0. An entry above 0 is predicted as 1, any other
    as 0.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: see `weighted_cross_entropy`.
        ignore_index: see `weighted_cross_entropy`.
        sample_weight: (N, ...) factors of the loss; they change neither counts nor divisor.
        class_weight: factors on top of the recall weights, at least 0: see `weighted_cross_entropy`.
        metric: see `recall_weights`.
        fn_floor: see `recall_weights`.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples; ``'all'`` samples, ignored ones too, as the
            authors' code does; ``'weight'``, the sum of the class weights over the valid samples. A divisor of 0
            gives the loss 0.
        recall: (C,) recall in [0, 1] to use instead of the batch's, for example a running mean; with ``use_sigmoid``
            (C, 2), of label 0 and label 1 of every channel.
        upsample: see `weighted_cross_entropy`.
        align_corners: see `weighted_cross_entropy`.
        use_sigmoid: every channel is a problem of two classes, instead of all channels one of C classes.
        label_smoothing: see `weighted_cross_entropy`; it changes no recall.

    Returns:
        A scalar, or for ``reduction='none'`` (N, ...), with ``use_sigmoid`` in the shape of the target; float64 if the
        logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel without ``use_sigmoid``, labels outside [0, C),
            unknown names, ``recall`` together with another metric or a floor.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> recall_cross_entropy(logits, target, ignore_index=255)  # recall 1 and 1/2: 0.5 * 2.4402 / 3
        tensor(0.4067)
        >>> recall_cross_entropy(logits, target, ignore_index=255, reduction='none')
        tensor([0.0000, 1.0635, 0.1566, 0.0000])
        >>> one_channel = logits[:, 1:] - logits[:, :1]
        >>> recall_cross_entropy(one_channel, target, ignore_index=255, use_sigmoid=True)
        tensor(0.4067)
    """
    check_weighting(metric, fn_floor)
    batch = Batch(
        logits,
        target,
        ignore_index,
        sample_weight,
        reduction,
        upsample=upsample,
        align_corners=align_corners,
        use_sigmoid=use_sigmoid,
        label_smoothing=label_smoothing,
    )
    check_call(batch, normalizer)
    if recall is not None:
        _check_recall(recall, batch, metric, fn_floor)
    factors = given_weights(class_weight, batch)
    sums = update(batch, normalizer, hits=True, predictions=metric != 'recall')
    batch_weights = recall_weights(statistics_of(sums), metric, fn_floor)
    weights = batch_weights if recall is None else 1 - recall.detach().flatten().to(factors)
    return compute(sums, weights * factors, batch, normalizer)


def check_weighting(metric: str, fn_floor: float, tversky_weights: tuple[float, float] = (0.5, 0.5)) -> None:
    """Raise TypeError or ValueError for a metric, a floor or Tversky weights that are not allowed."""
    check_choice('metric', metric, METRICS)
    check_number('fn_floor', fn_floor)
    if fn_floor > 0 and metric != 'recall':
        raise ValueError(
            f"got fn_floor={fn_floor}, a floor of the recall's false negatives, with metric={metric!r}; expected 0"
        )
    check_tversky_weights(tversky_weights)


def _check_recall(recall: Tensor, batch: Batch, metric: str, fn_floor: float) -> None:
    check = check_per_label if batch.use_sigmoid else check_per_class
    check('recall', recall, batch.logits.shape[1], highest=1)
    if metric != 'recall' or fn_floor > 0:
        raise ValueError(
            f'got recall together with metric={metric!r} and fn_floor={fn_floor}; leave metric and fn_floor out, '
            'because a given recall replaces both'
        )
