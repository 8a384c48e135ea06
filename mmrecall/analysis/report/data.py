"""Whether runs whose settings are alike have read the same data, as far as their logs and configs tell."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from mmrecall.analysis.report.checkpoints import same_path
from mmrecall.analysis.report.runs import Run
from mmrecall.analysis.report.selection import Selected
from mmrecall.analysis.report.settings import short, uncompared_places, without_place


def data_difference(one: Run, other: Run) -> str:
    """Return how the training sets of two runs with the same settings differ, or an empty text.

    Their class counts are compared where both have them, the batches of an epoch where both trained on as many GPUs.
    """
    if one.counts and other.counts and one.counts.counts != other.counts.counts:
        return 'the classes have other numbers of samples'
    same_gpus = one.environment.get('GPU number') == other.environment.get('GPU number')
    if one.batches and other.batches and one.batches != other.batches and same_gpus:
        return f'an epoch has {one.batches} batches in the first and {other.batches} in the second'
    return ''


def differing_places(selected: Sequence[Selected]) -> Iterator[tuple[str, dict[str, list[Run]]]]:
    """Yield arguments of data sets whose paths end alike and are not the same, and the runs of every path.

    Data may lie elsewhere on another machine, so that such runs are compared as if their data were the same.
    """
    found: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(dict)
    for run, result in selected:
        trained = (run.config.get('train_dataloader') or {}).get('dataset') or {}
        for dataset in (dict(train=trained), dict(evaluated=result.dataset if result else {})):
            for key, path in uncompared_places(dataset).items():
                runs_at = found[key, without_place(path)]
                place = next((one for one in runs_at if same_path(one, path)), path)
                runs_at.setdefault(place, []).append(run)
    yielded: list[Any] = []
    for (key, _), runs_at in found.items():
        if len(runs_at) > 1 and list(runs_at) not in yielded:
            yielded.append(list(runs_at))
            yield short(key), runs_at
