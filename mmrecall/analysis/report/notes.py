"""Notes on what the report lacks, and on results that a reader may overrate."""

from collections import defaultdict
from collections.abc import Sequence

from mmrecall.analysis.report.configs import is_cross_entropy
from mmrecall.analysis.report.data import data_difference, differing_places
from mmrecall.analysis.report.labels import settings_of
from mmrecall.analysis.report.selection import Selected
from mmrecall.analysis.report.settings import differing, said, shown
from mmrecall.analysis.report.tables import Comparison

_MOST_NAMED = 3


def notes_on(comparison: Comparison) -> list[str]:
    """Return the notes on the logs, the runs, the seeds and the reference."""
    logs = [problem for one in comparison.runs for problem in one.run.problems]
    notes = logs + _on_runs(comparison) + _on_seeds(comparison) + _on_evaluations(comparison)
    notes += _on_data(comparison) + _on_reference(comparison)
    if not any(one.run.scalars.classes for one in comparison.runs):
        notes.append('no log has class weights (ClassWeightHook writes them): there are no figures of them')
    return notes


def _on_runs(comparison: Comparison) -> list[str]:
    notes = []
    for _, run, result in comparison.runs:
        if run.unfinished():
            notes.append(f'{run.work_dir}: still in training, or broken off, at {run.unfinished()}')
        if result is None:
            of = ', '.join(one.source for one in run.results)
            reason = f'its results ({of}) are of other images than those of most' if of else 'no test or validation yet'
            notes.append(f'{run.work_dir}: {reason}; it is only in the figures of the training')
    return notes


def _on_seeds(comparison: Comparison) -> list[str]:
    places, evaluated, mixed = defaultdict(list), defaultdict(set), _mixed(comparison)
    for label, run, result in comparison.runs:
        if run.seed is not None:
            places[label, run.seed].append(str(run.work_dir))
        if result is not None:
            evaluated[label].add(f'{result.source} of {result.of}')
    notes = [f'{label}: --labels makes one row of runs that differ in {_listed(keys)}' for label, keys in mixed.items()]
    notes += [
        f'{label}, seed {seed}: {len(same)} runs with the same {"label" if label in mixed else "settings"}, '
        f'each counts as a seed ({", ".join(same)})'
        for (label, seed), same in places.items()
        if len(same) > 1
    ]
    return notes + [
        f'{label}: its seeds were not evaluated alike ({"; ".join(sorted(ends))})'
        for label, ends in evaluated.items()
        if len(ends) > 1
    ]


def _mixed(comparison: Comparison) -> dict[str, list[str]]:
    """Return the settings that the runs of a label differ in, by label, which the user alone can make."""
    found = {}
    for label in comparison.labels:
        runs = [settings_of(Selected(run, result)) for own, run, result in comparison.runs if own == label]
        evaluations = [evaluation for _, evaluation in runs if evaluation]
        found[label] = differing([training for training, _ in runs]) + differing(evaluations)
    return {label: keys for label, keys in found.items() if keys}


def _on_evaluations(comparison: Comparison) -> list[str]:
    """Return a note on the settings of the metrics that are not the same in all rows."""
    of_label = {}
    for label, run, result in comparison.runs:
        if result is not None:
            _, settings = settings_of(Selected(run, result))
            of_label[label] = {key: value for key, value in settings.items() if key.startswith('evaluator')}
    notes = []
    for key in differing(list(of_label.values()))[:_MOST_NAMED]:
        values = defaultdict(list)
        for label, settings in of_label.items():
            values[shown(settings[key]) if key in settings else 'not set'].append(label)
        differences = '; '.join(f'{value} in {", ".join(labels)}' for value, labels in values.items())
        notes.append(f'the metrics are not set alike, so rows are not comparable in them: {said(key)} is {differences}')
    return notes


def _on_data(comparison: Comparison) -> list[str]:
    """Return notes on runs whose data differ, and on those whose data lie elsewhere."""
    selected = [Selected(run, result) for _, run, result in comparison.runs]
    trained = [settings_of(one)[0] for one in selected]
    notes = []
    for number, (run, _) in enumerate(selected):
        for other, settings in zip(comparison.runs[:number], trained, strict=False):
            difference = data_difference(other.run, run)
            if difference and not differing([settings, trained[number]]):
                notes.append(
                    f'{other.run.work_dir} and {run.work_dir} have the same settings, but not the same data: '
                    f'{difference}'
                )
                break
    for argument, runs_at in differing_places(selected):
        places = '; '.join(
            f'{place} in ' + ', '.join(dict.fromkeys(str(run.work_dir) for run in runs[:_MOST_NAMED]))
            for place, runs in runs_at.items()
        )
        notes.append(
            f'compared as the same data, which they are only if these have the same files: {argument} {places}'
        )
    return notes


def _listed(keys: Sequence[str]) -> str:
    more = f' and {len(keys) - _MOST_NAMED} more settings' if len(keys) > _MOST_NAMED else ''
    return ', '.join(map(said, keys[:_MOST_NAMED])) + more


def _on_reference(comparison: Comparison) -> list[str]:
    notes, reference = [], comparison.reference
    plain = list(dict.fromkeys(one.label for one in comparison.runs if is_cross_entropy(one.run.config)))
    if len(plain) > 1 and reference in plain:
        others = '; '.join(label for label in plain if label != reference)
        notes.append(f'several labels are plain cross entropy; the reference is {reference}, not: {others}')
    if reference is None:
        labels = '; '.join(comparison.labels)
        notes.append(f'no run of plain cross entropy; set --reference to one of: {labels}')
    elif reference not in set(comparison.results['label']):
        notes.append(f'the reference, {reference}, has no result: no quadrants and no minority classes')
    return notes
