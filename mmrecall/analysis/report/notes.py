"""Notes on what a reader of the report would look for in vain, or take for more than it is."""

from collections import defaultdict

from mmrecall.analysis.report.configs import is_cross_entropy
from mmrecall.analysis.report.tables import Comparison


def notes_on(comparison: Comparison) -> list[str]:
    """Return the notes on the logs, the runs, the seeds and the reference."""
    logs = [problem for one in comparison.runs for problem in one.run.problems]
    notes = logs + _on_runs(comparison) + _on_seeds(comparison) + _on_reference(comparison)
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
    places, evaluated = defaultdict(list), defaultdict(set)
    for label, run, result in comparison.runs:
        if run.seed is not None:
            places[label, run.seed].append(str(run.work_dir))
        if result is not None:
            evaluated[label].add(f'{result.source} of {result.of}')
    return [
        f'{label}, seed {seed}: {len(same)} runs with the same settings, each counts as a seed ({", ".join(same)})'
        for (label, seed), same in places.items()
        if len(same) > 1
    ] + [
        f'{label}: its seeds were not evaluated alike ({"; ".join(sorted(ends))})'
        for label, ends in evaluated.items()
        if len(ends) > 1
    ]


def _on_reference(comparison: Comparison) -> list[str]:
    notes, reference = [], comparison.reference
    plain = list(dict.fromkeys(one.label for one in comparison.runs if is_cross_entropy(one.run.config)))
    if len(plain) > 1 and reference in plain:
        others = '; '.join(label for label in plain if label != reference)
        notes.append(f'several labels are plain cross entropy; the reference is {reference}, not: {others}')
    if reference is None:
        labels = '; '.join(comparison.labels)
        notes.append(f'no run of plain cross entropy: choose what to compare with by --reference, one of: {labels}')
    elif reference not in set(comparison.results['label']):
        notes.append(f'the reference, {reference}, has no result: no quadrants and no minority classes')
    return notes
