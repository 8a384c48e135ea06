"""What the runs have found, as tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmrecall.analysis.report.choice import Chosen
from mmrecall.analysis.report.configs import differing, is_cross_entropy, labels_of, shown, training_settings
from mmrecall.analysis.report.runs import SEGMENTATION, Result, Run

# Tables II and III of the paper: a class is a minority class if the reference's IoU is below
MINORITY_IOU = 80
RARE_ACCURACY, RARE_IOU = 'mAcc, minority', 'mIoU, minority'
_VERSIONS = ('Python', 'PyTorch', 'TorchVision', 'OpenCV', 'MMEngine', 'GPU 0', 'CUDA available', 'GPU number')


class Labelled(NamedTuple):
    """A run, its result, and what it is called."""

    label: str
    chosen: Chosen

    @property
    def run(self) -> Run:
        """What was read."""
        return self.chosen.run


class Comparison(NamedTuple):
    """All that is known of a set of runs."""

    kind: str
    runs: list[Labelled]
    reference: str | None
    labels: list[str]
    """In the order of the runs, the reference first."""
    results: pd.DataFrame
    """A row per run with a result: label, seed, evaluated, work_dir, and the metrics in percent."""
    metrics: list[str]
    """Those columns."""
    classes: pd.DataFrame
    """A row per run and class: label, seed, class, IoU, Acc, …; segmentation only."""
    minority: list[str]
    shares: pd.Series | None
    """Of every class among the labels of the training, the largest first; None where no log tells."""

    def summary(self) -> pd.DataFrame:
        """Over the seeds of each label."""
        found = self.results.groupby('label')[self.metrics].agg(['mean', 'std', 'count'])
        return found.reindex([label for label in self.labels if label in found.index])

    def class_means(self, column: str) -> pd.DataFrame:
        """A row per class, a column per label; the mean over the seeds."""
        means = self.classes.pivot_table(index='class', columns='label', values=column, sort=False, dropna=False)
        return means.reindex(index=self.class_order(), columns=[one for one in self.labels if one in means])

    def class_deviations(self, column: str) -> pd.DataFrame:
        """As `class_means`, the standard deviation."""
        found = self.classes.pivot_table(
            index='class', columns='label', values=column, sort=False, dropna=False, aggfunc='std'
        )
        return found.reindex(index=self.class_order(), columns=[one for one in self.labels if one in found])

    def class_order(self) -> list[str]:
        """The most frequent class first where that is known, else as the data set has them."""
        names = list(dict.fromkeys(self.classes['class'])) if len(self.classes) else []
        if self.shares is None:
            return names
        return [*(name for name in self.shares.index if name in names), *(n for n in names if n not in self.shares)]


def compare(chosen: Sequence[Chosen], reference: str | None = None) -> Comparison:
    """Make tables of comparable runs.

    Args:
        chosen: of `comparable`.
        reference: label that the others are compared with; by default that of plain cross entropy, if there is one.

    Raises:
        ValueError: no run has that label; lists those that there are.
    """
    labels = labels_of([one.run for one in chosen])
    runs = [Labelled(label, one) for label, one in zip(labels, chosen, strict=True)]
    reference = _reference(runs, reference)
    order = list(dict.fromkeys(([reference] if reference else []) + sorted(labels, key=str.lower)))
    runs.sort(key=lambda one: (order.index(one.label), one.run.seed is None, one.run.seed or 0))
    kind = chosen[0].run.kind
    classes = _class_results(runs)
    minority = _minority(classes, reference)
    results, metrics = _results(runs, classes, minority)
    shares = _shares(runs)
    return Comparison(kind, runs, reference, order, results, metrics, classes, minority, shares)


def _reference(runs: Sequence[Labelled], wanted: str | None) -> str | None:
    labels = list(dict.fromkeys(one.label for one in runs))
    if wanted is None:
        plain = [one for one in runs if is_cross_entropy(one.run.config)]
        # with a result, where one has it
        return next((one.label for one in sorted(plain, key=lambda one: one.chosen.result is None)), None)
    if wanted not in labels:
        raise ValueError(f'no run is called {wanted!r}; --reference is one of: {"; ".join(labels)}')
    return wanted


def _class_results(runs: Sequence[Labelled]) -> pd.DataFrame:
    parts = [pd.DataFrame(columns=['label', 'seed', 'class'])]
    for label, (run, result) in runs:
        if result is not None and result.classes is not None:
            part = result.classes.rename_axis('class').reset_index()
            part.insert(0, 'seed', run.seed)
            part.insert(0, 'label', label)
            parts.append(part)
    return pd.concat(parts[1:], ignore_index=True) if len(parts) > 1 else parts[0]


def _minority(classes: pd.DataFrame, reference: str | None) -> list[str]:
    if reference is None or 'IoU' not in classes:
        return []
    means = classes[classes['label'] == reference].groupby('class', sort=False)['IoU'].mean()
    return list(means.index[means < MINORITY_IOU])


def _results(
    runs: Sequence[Labelled], classes: pd.DataFrame, minority: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    rows = []
    for label, (run, result) in runs:
        if result is None:
            continue
        row: dict[str, Any] = dict(label=label, seed=run.seed, evaluated=f'{result.source}, {result.of}')
        row |= dict(work_dir=str(run.work_dir)) | _over_all_classes(result)
        if result.classes is not None and minority:
            rare = result.classes.loc[[name for name in minority if name in result.classes.index]]
            row |= {
                name: float(np.nanmean(rare[column]))
                for name, column in ((RARE_ACCURACY, 'Acc'), (RARE_IOU, 'IoU'))
                if column in rare
            }
        rows.append(row)
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=['label', 'seed', 'evaluated', 'work_dir'])
    first = [name for name in ('mAcc', 'mIoU', 'aAcc', RARE_ACCURACY, RARE_IOU) if name in frame]
    known = ['label', 'seed', 'evaluated', 'work_dir', *first]
    return frame, first + [name for name in frame if name not in known]


def _over_all_classes(result: Result) -> dict[str, float]:
    """The metrics without mmseg's means that leave out the classes of which nothing was predicted, the worst ones."""
    classes = pd.DataFrame() if result.classes is None else result.classes
    affected = [name for name in ('Fscore', 'Precision', 'Dice') if name in classes and classes[name].isna().any()]
    left_out = {f'm{name}' for name in affected}
    return {name: value for name, value in result.metrics.items() if name not in left_out}


def _shares(runs: Sequence[Labelled]) -> pd.Series | None:
    """Share of every class among the labels of the training, in percent: by a run's class counts, else as logged."""
    counts = next((one.run.counts for one in runs if one.run.counts is not None), None)
    if counts is not None:
        return _sorted_shares(pd.Series(counts.counts, counts.classes, dtype=float))
    logged = [
        frame.fillna(0).mean()
        for one in runs
        for (quantity, _), frame in one.run.scalars.classes.items()
        if quantity == 'class_share' and not _draws_by_class(one.run)
    ]
    return _sorted_shares(pd.concat(logged, axis=1).fillna(0).mean(axis=1)) if logged else None


def _draws_by_class(run: Run) -> bool:
    """Whether the batches have other shares than the data."""
    sampler = (run.config.get('train_dataloader') or {}).get('sampler') or {}
    return 'strategy' in sampler or str(sampler.get('type')).endswith('BilateralSampler')


def _sorted_shares(numbers: pd.Series) -> pd.Series:
    return (100 * numbers / numbers.sum()).sort_values(ascending=False, kind='stable')


def config_differences(comparison: Comparison) -> pd.DataFrame:
    """What each label trains with otherwise than the reference (or the first): label, setting, value, reference."""
    settings = {one.label: _settings(one.run) for one in reversed(comparison.runs)}
    base = comparison.labels[0]
    rows = []
    for label in comparison.labels[1:]:
        for key in differing([settings[base], settings[label]]):
            values = (shown(settings[one][key]) if key in settings[one] else 'not set' for one in (label, base))
            rows.append((label, key, *values))
    return pd.DataFrame(rows, columns=['label', 'setting', 'value', base])


def _settings(run: Run) -> dict[str, Any]:
    return training_settings(run.config)


def versions(runs: Sequence[Labelled]) -> pd.DataFrame:
    """A row per environment, with the number of runs."""
    rows = [{name: one.run.environment.get(name, '').partition(' (')[0] for name in _VERSIONS} for one in runs]
    # mmengine counts the processes, on a CPU too
    frame = pd.DataFrame(rows).rename(columns={'GPU number': 'processes'})
    frame = frame[[name for name in frame if frame[name].any()]]
    return frame.groupby(list(frame), sort=False).size().rename('runs').reset_index() if len(frame.columns) else frame


def commands(runs: Sequence[Labelled]) -> pd.DataFrame:
    """How each run was trained."""
    rows = [(one.label, one.run.seed, one.run.command) for one in runs]
    return pd.DataFrame(rows, columns=['label', 'seed', 'command'])


def is_segmentation(comparison: Comparison) -> bool:
    """Whether there are accuracy and IoU, not shots."""
    return comparison.kind == SEGMENTATION
