"""The recall loss by plain Python loops in float64, written from the papers' equations; no code of mmrecall's."""

import math

import torch


def samples(logits, target):
    """Scores and label of every sample: (N, C, ...) and (N, ...) as two lists."""
    num_classes = logits.shape[1]
    rows = logits.detach().double().movedim(1, -1).reshape(-1, num_classes).tolist()
    return rows, target.reshape(-1).tolist()


def log_probability(row, label):
    """log softmax, by the log of a sum of exponentials (eq. 1's P_n^y)."""
    top = max(row)
    return row[label] - top - math.log(sum(math.exp(score - top) for score in row))


def prediction(row):
    """The class of the highest score, the first one on ties."""
    return row.index(max(row))


def counts(logits, target, ignore_index):
    """[N_c], [TP_c + FP_c], [TP_c]."""
    num_classes = logits.shape[1]
    support, predicted, true_positives = ([0] * num_classes for _ in range(3))
    for row, label in zip(*samples(logits, target), strict=True):
        if label == ignore_index:
            continue
        support[label] += 1
        predicted[prediction(row)] += 1
        true_positives[label] += prediction(row) == label
    return support, predicted, true_positives


def weights(support, predicted, true_positives, metric='recall', fn_floor=0, a=0.5, b=0.5):
    """1 - metric by Table I's Boolean row; the false-negative rate for the recall."""
    result = []
    for n, p, tp in zip(support, predicted, true_positives, strict=True):
        fn, fp = n - tp, p - tp
        if n == 0:
            result.append(0.0)
        elif metric == 'recall':
            result.append(max(fn, fn_floor) / n)
        elif metric == 'precision':
            result.append(fp / (fp + tp) if p else 1.0)
        elif metric in ('f1', 'dice'):
            result.append(1 - 2 * tp / (2 * tp + fp + fn))
        elif metric in ('iou', 'jaccard'):
            result.append(1 - tp / (tp + fp + fn))
        elif metric == 'tversky':
            result.append(1 - tp / (tp + a * fp + b * fn))
    return result


def recall_loss(
    logits, target, ignore_index=-100, sample_weight=None, class_weight=None, reduction='mean', normalizer='valid',
    recall=None, **weighting,
):  # fmt: skip
    """Equation 5, and what the design says of ignored samples, weights and divisors."""
    num_classes = logits.shape[1]
    per_class = [1 - r for r in recall] if recall else weights(*counts(logits, target, ignore_index), **weighting)
    per_class = [w * f for w, f in zip(per_class, class_weight or [1.0] * num_classes, strict=True)]
    scale = [1.0] * target.numel() if sample_weight is None else sample_weight.reshape(-1).tolist()
    losses, weight_sum, valid = [], 0.0, 0
    for (row, label), factor in zip(zip(*samples(logits, target), strict=True), scale, strict=True):
        if label == ignore_index:
            losses.append(0.0)
            continue
        losses.append(-per_class[label] * factor * log_probability(row, label))
        weight_sum += per_class[label]
        valid += 1
    if reduction == 'none':
        return losses
    if reduction == 'sum':
        return sum(losses)
    divisor = {'valid': valid, 'all': len(losses), 'weight': weight_sum}[normalizer]
    return sum(losses) / divisor if divisor else 0.0


def random_batch(shape=(2, 4, 5, 3), ignored=0.2, ignore_index=255, dtype=torch.float64, seed=0):
    """Scores, and labels of which a share is ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * 2
    samples_shape = (shape[0], *shape[2:])
    target = torch.randint(0, shape[1], samples_shape, generator=generator)
    target[torch.rand(samples_shape, generator=generator) < ignored] = ignore_index
    return logits, target
