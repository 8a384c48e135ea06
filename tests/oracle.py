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


def binary_counts(entries):
    """([N_0, N_1], [TP_0, TP_1]) of pairs (score, label 0 or 1); a score above 0 is predicted as 1."""
    support, hits = [0, 0], [0, 0]
    for score, label in entries:
        support[label] += 1
        hits[label] += (score > 0) == (label == 1)
    return support, hits


def binary_recall_loss(logits, target, ignore_index):
    """Equation 5 with two classes, summed over channels: -(1 - R_1) log s(z) of label 1, -(1 - R_0) log s(-z) of 0."""
    total = 0.0
    for scores, labels in zip(logits.unbind(1), target.unbind(1), strict=True):
        pairs = zip(scores.flatten().tolist(), labels.flatten().tolist(), strict=True)
        entries = [(score, int(label)) for score, label in pairs if label != ignore_index]
        support, hits = binary_counts(entries)
        for score, label in entries:
            probability = 1 / (1 + math.exp(-score if label else score))
            total -= (1 - hits[label] / support[label]) * math.log(probability)
    return total


def random_batch(shape=(2, 4, 5, 3), ignored=0.2, ignore_index=255, dtype=torch.float64, seed=0):
    """Scores, and labels of which a share is ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * 2
    samples_shape = (shape[0], *shape[2:])
    target = torch.randint(0, shape[1], samples_shape, generator=generator)
    target[torch.rand(samples_shape, generator=generator) < ignored] = ignore_index
    return logits, target


def probabilities(row):
    """softmax of one row."""
    return [math.exp(log_probability(row, c)) for c in range(len(row))]


def labelled(logits, target, ignore_index):
    """(row, label) of the samples that are not ignored."""
    rows, labels = samples(logits, target)
    return [(row, label) for row, label in zip(rows, labels, strict=True) if label != ignore_index]


def focal_losses(logits, target, gamma, ignore_index):
    """-(1 - p)^gamma log p of every sample (recall-loss paper, section IV-D), 0 where ignored."""
    return [
        0.0 if label == ignore_index else -((1 - probabilities(row)[label]) ** gamma) * log_probability(row, label)
        for row, label in zip(*samples(logits, target), strict=True)
    ]


def hardest(logits, target, keep_ratio, ignore_index):
    """The floor(keep_ratio x valid) largest cross entropies."""
    losses = sorted((-log_probability(*pair) for pair in labelled(logits, target, ignore_index)), reverse=True)
    return losses[: math.floor(round(keep_ratio * len(losses), 6))]


def tversky_losses(logits, target, a, b, ignore_index, smooth=0.0):
    """1 - index by class (Table I, with probabilities), None for a class without labels."""
    result = []
    for c in range(logits.shape[1]):
        tp = fp = fn = 0.0
        for row, label in labelled(logits, target, ignore_index):
            p = probabilities(row)[c]
            if label == c:
                tp, fn = tp + p, fn + 1 - p
            else:
                fp += p
        has_labels = any(label == c for _, label in labelled(logits, target, ignore_index))
        loss = 1 - (tp + smooth) / (tp + a * fp + b * fn + smooth)
        result.append(loss if has_labels else None)
    return result


def lovasz_losses(logits, target, ignore_index):
    """Lovasz extension of the Jaccard loss by class (Berman et al., equations 6 to 9), None without labels.

    The Jaccard loss of a set of wrong samples is 1 - |own without wrong| / |own and wrong|; it is evaluated anew for
    every prefix of the sorted errors.
    """
    pairs = labelled(logits, target, ignore_index)
    result = []
    for c in range(logits.shape[1]):
        own = {n for n, (_, label) in enumerate(pairs) if label == c}
        if not own:
            result.append(None)
            continue
        errors = [abs((label == c) - probabilities(row)[c]) for row, label in pairs]
        wrong, before, total = set(), 0.0, 0.0
        for n in sorted(range(len(pairs)), key=lambda n: -errors[n]):
            wrong.add(n)
            loss = 1 - len(own - wrong) / len(own | wrong)
            total += errors[n] * (loss - before)
            before = loss
        result.append(total)
    return result


def ldam_losses(logits, target, class_counts, max_margin, scale, ignore_index):
    """-log of e^(s(z_y - m_y)) / (e^(s(z_y - m_y)) + sum of the others' e^(s z)) (Cao et al., equation 12)."""
    rarest = min(class_counts)
    margins = [max_margin * (rarest / n) ** 0.25 for n in class_counts]
    result = []
    for row, label in zip(*samples(logits, target), strict=True):
        if label == ignore_index:
            result.append(0.0)
            continue
        shifted = [scale * (z - margins[label] * (c == label)) for c, z in enumerate(row)]
        result.append(-log_probability(shifted, label))
    return result


def logit_variation_losses(logits, target, class_counts, draws, ignore_index):
    """Cross entropy of z_c + |delta| r_c / max r, delta clamped to [-1, 1], r_c = log sum n - log n_c (Wang et al.)."""
    rarity = [math.log(sum(class_counts)) - math.log(n) for n in class_counts]
    rows, labels = samples(logits, target)
    result = []
    for row, label, deltas in zip(rows, labels, samples(draws, target)[0], strict=True):
        noisy = [z + abs(max(-1.0, min(1.0, d))) * r / max(rarity) for z, d, r in zip(row, deltas, rarity, strict=True)]
        result.append(0.0 if label == ignore_index else -log_probability(noisy, label))
    return result


def balanced_losses(logits, target, class_counts, tau, ignore_index):
    """-log of N_y^tau e^(z_y) / sum of N_c^tau e^(z_c) (Menon et al., equation 10; Ren et al. for tau = 1)."""
    return [
        0.0
        if label == ignore_index
        else -math.log(
            class_counts[label] ** tau * math.exp(row[label])
            / sum(n**tau * math.exp(z) for n, z in zip(class_counts, row, strict=True))
        )
        for row, label in zip(*samples(logits, target), strict=True)
    ]  # fmt: skip
