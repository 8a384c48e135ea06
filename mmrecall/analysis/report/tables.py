"""The results of the runs, as tables."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmrecall.analysis.report.configs import is_cross_entropy
from mmrecall.analysis.report.labels import labels_of, settings_of
from mmrecall.analysis.report.runs import Result, Run
from mmrecall.analysis.report.selection import Selected
from mmrecall.analysis.report.settings import differing, shown

# A class is a minority class if the reference's IoU is below this (tables II and III of the paper).
MINORITY_IOU = 80
MINORITY_ACCURACY, MINORITY_MEAN_IOU = 'mAcc, minority', 'mIoU, minority'
MAIN_METRICS = {
    'mAcc': 'mean accuracy (recall), %',
    'mIoU': 'mean IoU, %',
    'aAcc': 'pixel accuracy, %',
    MINORITY_ACCURACY: 'mean accuracy of minority classes, %',
    MINORITY_MEAN_IOU: 'mean IoU of minority classes, %',
    'mAcc_rare': 'mean accuracy of rare classes, %',
    'mIoU_rare': 'mean IoU of rare classes, %',
    'shot/top1': 'top-1 accuracy, %',
    'shot/many': 'accuracy of many-shot classes, %',
    'shot/medium': 'accuracy of medium-shot classes, %',
    'shot/few': 'accuracy of few-shot classes, %',
    'accuracy/top1': 'top-1 accuracy, %',
}
_VERSIONS = ('Python', 'PyTorch', 'TorchVision', 'OpenCV', 'MMEngine', 'GPU 0', 'CUDA available', 'GPU number')


class LabelledRun(NamedTuple):
    """A run with its label and its result."""

    label: str
    run: Run
    result: Result | None


class Comparison(NamedTuple):
    """The runs that are compared, and their results."""

    kind: str
    runs: list[LabelledRun]
    reference: str | None
    labels: list[str]
    """In the order of the runs, the reference first."""
    results: pd.DataFrame
    """A row per run with a result: label, seed, evaluated, work_dir, and the metrics in percent."""
    metrics: list[str]
    """Names of the columns with metrics."""
    classes: pd.DataFrame
    """A row per run and class: label, seed, class, IoU, Acc, …; segmentation only."""
    minority: list[str]
    shares: pd.Series | None
    """Share of every class in the labels of the training, the largest first; None where no log has it."""

    def summary(self) -> pd.DataFrame:
        """Return a row per label: the number of seeds; of a metric the mean (``mIoU``) and deviation (``mIoU std``).

        A metric that not all of the seeds have is followed by a column with the number of seeds that have it.
        """
        if not self.metrics:
            return pd.DataFrame()
        groups = self.results.groupby('label')
        found = groups[self.metrics].agg(['mean', 'std', 'count'])
        found = found.reindex([label for label in self.labels if label in found.index])
        columns = {'seeds': groups.size().reindex(found.index)}
        for metric in self.metrics:
            columns[metric] = found[metric, 'mean']
            columns[f'{metric} std'] = found[metric, 'std']
            if (found[metric, 'count'] < columns['seeds']).any():
                columns[f'seeds with {metric}'] = found[metric, 'count'].astype(int)
        return pd.DataFrame(columns).rename_axis('loss')

    def by_class(self, column: str, over_seeds: str = 'mean') -> pd.DataFrame:
        """Return a row per class and a column per label, with the mean or ``std`` over the seeds."""
        found = self.classes.pivot_table(
            index='class', columns='label', values=column, sort=False, dropna=False, aggfunc=over_seeds
        )
        names = self.ordered(dict.fromkeys(self.classes['class']))
        return found.reindex(index=names, columns=[label for label in self.labels if label in found])

    def ordered(self, classes: Collection[str]) -> list[str]:
        """Return the classes, the most frequent first where that is known, else as they are."""
        known = [] if self.shares is None else [name for name in self.shares.index if name in classes]
        return known + [name for name in classes if self.shares is None or name not in self.shares.index]


def compare(
    selected: Sequence[Selected], reference: str | None = None, given: Mapping[int, str] | None = None
) -> Comparison:
    """Return the comparison of the runs that `comparable` has selected.

    Args:
        selected: runs with their results.
        reference: label that the others are compared with; by default that of plain cross entropy, if there is one.
        given: labels by the places of their runs, as `given_labels` returns them.

    Raises:
        ValueError: no run has that label; lists those that there are.
    """
    labels = labels_of(selected, given)
    runs = [LabelledRun(label, *one) for label, one in zip(labels, selected, strict=True)]
    reference = _reference(runs, reference)
    order = list(dict.fromkeys(([reference] if reference else []) + sorted(labels, key=str.lower)))
    runs.sort(key=lambda one: (order.index(one.label), one.run.seed is None, one.run.seed or 0))
    classes = _class_results(runs)
    minority = _minority(classes, reference)
    results, metrics = _results(runs, minority)
    return Comparison(runs[0].run.kind, runs, reference, order, results, metrics, classes, minority, _shares(runs))


def _reference(runs: Sequence[LabelledRun], wanted: str | None) -> str | None:
    labels = list(dict.fromkeys(one.label for one in runs))
    if wanted is None:
        plain = [one for one in runs if is_cross_entropy(one.run.config)]
        # Preferably a run with a result.
        return next((one.label for one in sorted(plain, key=lambda one: one.result is None)), None)
    if wanted not in labels:
        raise ValueError(f'got --reference {wanted!r}; expected one of: {"; ".join(labels)}')
    return wanted


def _class_results(runs: Sequence[LabelledRun]) -> pd.DataFrame:
    parts = [
        result.classes.rename_axis('class').reset_index().assign(label=label, seed=run.seed)
        for label, run, result in runs
        if result is not None and result.classes is not None
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=['label', 'seed', 'class'])


def _minority(classes: pd.DataFrame, reference: str | None) -> list[str]:
    if reference is None or 'IoU' not in classes:
        return []
    means = classes[classes['label'] == reference].groupby('class', sort=False)['IoU'].mean()
    return list(means.index[means < MINORITY_IOU])


def _results(runs: Sequence[LabelledRun], minority: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    rows = []
    for label, run, result in runs:
        if result is None:
            continue
        row: dict[str, Any] = dict(label=label, seed=run.seed, evaluated=f'{result.source}, {result.of}')
        row |= dict(work_dir=str(run.work_dir)) | _over_all_classes(result)
        if result.classes is not None and minority:
            rare = result.classes.loc[[name for name in minority if name in result.classes.index]]
            row |= {
                name: float(np.nanmean(rare[column]))
                for name, column in ((MINORITY_ACCURACY, 'Acc'), (MINORITY_MEAN_IOU, 'IoU'))
                if column in rare
            }
        rows.append(row)
    known = ['label', 'seed', 'evaluated', 'work_dir']
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=known)
    first = [name for name in ('mAcc', 'mIoU', 'aAcc', MINORITY_ACCURACY, MINORITY_MEAN_IOU) if name in frame]
    return frame, first + [name for name in frame if name not in (*known, *first)]


def _over_all_classes(result: Result) -> dict[str, float]:
    """Return the metrics without those means of mmseg that leave out classes never predicted, the worst ones."""
    classes = pd.DataFrame() if result.classes is None else result.classes
    affected = [name for name in ('Fscore', 'Precision', 'Dice') if name in classes and classes[name].isna().any()]
    left_out = {f'm{name}' for name in affected}
    return {name: value for name, value in result.metrics.items() if name not in left_out}


def _shares(runs: Sequence[LabelledRun]) -> pd.Series | None:
    """Return the share of every class among the labels, in percent: by a run's class counts, else as logged."""
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
    """Return whether the batches have other shares than the data."""
    sampler = (run.config.get('train_dataloader') or {}).get('sampler') or {}
    return 'strategy' in sampler or str(sampler.get('type')).endswith(('BilateralSampler', 'RareClassSampler'))


def _sorted_shares(numbers: pd.Series) -> pd.Series:
    return (100 * numbers / numbers.sum()).sort_values(ascending=False, kind='stable')


def runs_table(comparison: Comparison) -> pd.DataFrame:
    """Return a row per run with its metrics and its work dir."""
    rows: list[dict[str, Any]] = []
    results = comparison.results.set_index('work_dir')
    for label, run, _ in comparison.runs:
        work_dir = str(run.work_dir)
        row = dict(loss=label, seed=run.seed, evaluated='not yet', iterations=run.last_step())
        if work_dir in results.index:
            row |= results.loc[work_dir].drop(['label', 'seed']).to_dict()
        rows.append(row | {'work dir': work_dir})
    return pd.DataFrame(rows).set_index('loss')


def config_differences(comparison: Comparison) -> pd.DataFrame:
    """Return the settings that a label has otherwise than the reference (or the first): label, setting, both values."""
    # Preferably of a run with a result: it says how it was evaluated.
    runs = sorted(comparison.runs, key=lambda one: one.result is None)
    settings = {label: settings_of(Selected(run, result)) for label, run, result in reversed(runs)}
    base = comparison.labels[0]
    rows = []
    for label in comparison.labels[1:]:
        pairs = [(settings[label][part], settings[base][part]) for part in (0, 1)]
        for here, there in pairs if all(pairs[1]) else pairs[:1]:
            for key in differing([there, here]):
                rows.append((label, key, *(shown(one[key]) if key in one else 'not set' for one in (here, there))))
    return pd.DataFrame(rows, columns=['label', 'setting', 'value', base])


def versions(comparison: Comparison) -> pd.DataFrame:
    """Return a row per environment, with the number of runs."""
    environments = [one.run.environment for one in comparison.runs]
    rows = [{name: found.get(name, '').partition(' (')[0] for name in _VERSIONS} for found in environments]
    # mmengine counts processes under this name, on a CPU too.
    frame = pd.DataFrame(rows).rename(columns={'GPU number': 'processes'})
    frame = frame[[name for name in frame if frame[name].any()]]
    return frame.groupby(list(frame), sort=False).size().rename('runs').reset_index() if len(frame.columns) else frame
