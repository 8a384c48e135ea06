"""The labels of runs: given by the user, or derived from the differences between the configs."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmrecall.analysis.report.configs import loss_of, parts_of_model
from mmrecall.analysis.report.data import data_difference
from mmrecall.analysis.report.runs import Run
from mmrecall.analysis.report.selection import Selected, Skipped
from mmrecall.analysis.report.settings import (
    differing,
    evaluation_settings,
    said,
    short,
    shown,
    training_settings,
    without_seed,
)

# Arguments that are part of the name of a loss even where all runs share them.
_ALWAYS_NAMED = ('class_weight', 'alpha', 'metric', 'loss', 'first_stage')
# More settings than these are too many for a label.
_MOST_NAMED = 2
_WEIGHTS = ('load_from', 'checkpoint', 'pretrained')


class _Kind(NamedTuple):
    """Runs of one label: their training and their evaluation differ in the seed alone."""

    places: list[int]
    config: dict[str, Any]
    settings: dict[str, Any]
    work_dir: Path


def read_labels(texts: Iterable[str]) -> list[tuple[str, Path]]:
    """Return the labels and folders of ``LABEL=FOLDER``; either may have further equals signs.

    Raises:
        ValueError: a text has no label, no folder, or a folder that is not there.
    """
    return [_read_label(text) for text in texts]


def _read_label(text: str) -> tuple[str, Path]:
    cuts = [place for place, sign in enumerate(text) if sign == '=']
    pairs = [(text[:cut].strip(), text[cut + 1 :].strip()) for cut in cuts]
    pairs = [(label, folder) for label, folder in pairs if label and folder]
    if not pairs:
        raise ValueError(f'got --labels {text!r}; expected LABEL=FOLDER; set "ours=work_dirs/ours", for example')
    found = [(label, Path(folder)) for label, folder in pairs if Path(folder).is_dir()]
    if not found:
        raise ValueError(f'got --labels {text!r}; expected an existing folder; {pairs[0][1]!r} is none')
    return found[0]


def given_labels(
    labels: Sequence[tuple[str, Path]], selected: Sequence[Selected], skipped: Sequence[Skipped] = ()
) -> dict[int, str]:
    """Return the labels that the user gives to the runs at and below folders, by the places of the runs.

    Raises:
        ValueError: a folder has no run that is compared, or a run gets two labels.
    """
    given: dict[int, tuple[str, Path]] = {}
    for label, folder in labels:
        places = [place for place, one in enumerate(selected) if _is_below(one.run.work_dir, folder)]
        if not places:
            left_out = [f'\n  {one.work_dir}: {one.reason}' for one in skipped if _is_below(one.work_dir, folder)]
            raise ValueError(
                f'got --labels {f"{label}={folder}"!r}, and no run at or below that folder is compared; expected one '
                f'of WORK_DIR; set another folder{"".join(left_out)}'
            )
        for place in places:
            other, other_folder = given.setdefault(place, (label, folder))
            if other != label:
                raise ValueError(
                    f'got --labels {f"{other}={other_folder}"!r} and {f"{label}={folder}"!r}, two labels for '
                    f'{selected[place].run.work_dir}; expected one; set folders that hold no run in common'
                )
    return {place: label for place, (label, _) in given.items()}


def _is_below(path: str | Path, folder: Path) -> bool:
    return Path(path).resolve().is_relative_to(folder.resolve())


def labels_of(selected: Sequence[Selected], given: Mapping[int, str] | None = None) -> list[str]:
    """Return the label of every run: the given one, else its loss and what distinguishes it from the others.

    Runs whose training and evaluation differ only in the seed have the same label, unless their logs show different
    data. A run without a result has the label of a run with the same training.
    """
    given = given or {}
    kinds = _kinds(selected, [place for place in range(len(selected)) if place not in given])
    losses = [loss_of(kind.config) for kind in kinds]
    labels = _told_apart([_label(loss, losses) for loss in losses], kinds)
    taken = set(given.values())
    found = dict(given)
    for kind, label, folder in zip(kinds, labels, _folders(kinds), strict=True):
        found |= dict.fromkeys(kind.places, f'{label} {folder}' if label in taken else label)
    return [found[place] for place in range(len(selected))]


def settings_of(one: Selected) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a run's training, and those of the evaluation of its result."""
    result = one.result
    return training_settings(one.run.config), evaluation_settings(result.evaluator, result.dataset) if result else {}


def _kinds(selected: Sequence[Selected], places: Iterable[int]) -> list[_Kind]:
    kinds: list[tuple[_Kind, dict[str, Any], Run]] = []
    # Those with a result first: what they are evaluated by is known.
    for place in sorted(places, key=lambda place: selected[place].result is None):
        run, result = selected[place]
        training, evaluation = settings_of(selected[place])
        own = training | evaluation
        for kind, trained, first in kinds:
            alike = not differing([kind.settings, own] if result else [trained, training])
            if alike and not data_difference(first, run):
                kind.places.append(place)
                break
        else:
            kinds.append((_Kind([place], run.config, own, Path(run.work_dir)), training, run))
    return sorted((kind for kind, *_ in kinds), key=lambda kind: min(kind.places))


def _label(loss: tuple[str, dict[str, Any]], losses: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Return the type and the arguments that are always named; of losses alike, also what they differ in.

    Where losses of the type differ, arguments of its parts that all of them share are left out.
    """
    kind, arguments = loss
    same = [others for name, others in losses if name == kind]
    alike = [others for others in same if _always(others) == _always(arguments)]
    apart = differing(same)
    told = set(differing(alike)) | {key for key in _always(arguments) if key in apart or '.' not in key or not apart}
    every = {key for others in same for key in others}
    named = [f'{_ending(key, every)}={shown(value)}' for key, value in arguments.items() if key in told]
    return ' '.join([kind, *named])


def _always(arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if short(key) in _ALWAYS_NAMED and value is not None}


def _ending(key: str, keys: Iterable[str]) -> str:
    """Return the last parts of a name, as few as no other name ends with.

    A loss keeps its head, and an argument of one of several losses the number of that loss.

    Example:
        >>> _ending('feature_head.loss.alpha', ['feature_head.loss.alpha', 'alpha', 'other_head.loss.beta'])
        'loss.alpha'
    """
    others = [f'.{one}' for one in keys if one != key]
    parts = key.split('.')
    fewest = 2 if parts[-1] == 'loss' or parts[0].isdecimal() else 1
    endings = ['.'.join(parts[-count:]) for count in range(fewest, len(parts))]
    return next((one for one in endings if not any(other.endswith(f'.{one}') for other in others)), key)


def _told_apart(labels: Sequence[str], kinds: Sequence[_Kind]) -> list[str]:
    """Return the labels, equal ones with what distinguishes them: settings, architectures, or else work dirs."""
    found = list(labels)
    for tell in (_few_settings, _architectures, _few_settings, _settings, _few_settings, _folders):
        for places in _shared(found):
            names = tell([kinds[place] for place in places])
            for place, name in zip(places, names, strict=True):
                found[place] = f'{found[place]} {name}'.rstrip()
    return found


def _shared(labels: Sequence[str]) -> Iterator[list[int]]:
    """Yield the places of every label that is there more than once."""
    alike = defaultdict(list)
    for place, label in enumerate(labels):
        alike[label].append(place)
    yield from [places for places in alike.values() if len(places) > 1]


def _few_settings(kinds: Sequence[_Kind]) -> list[str]:
    few = len(differing([kind.settings for kind in kinds])) <= _MOST_NAMED
    return _settings(kinds) if few else [''] * len(kinds)


def _settings(kinds: Sequence[_Kind]) -> list[str]:
    """Return the first settings that the kinds differ in, of many preferably the weights that they begin with."""
    keys = differing([kind.settings for kind in kinds])
    if len(keys) > _MOST_NAMED:
        keys.sort(key=lambda key: short(key) not in _WEIGHTS)
    names = []
    for kind in kinds:
        named = [f'{said(key)}={shown(kind.settings[key])}' for key in keys if key in kind.settings]
        names.append(' '.join(named[:_MOST_NAMED]))
    return names


def _architectures(kinds: Sequence[_Kind]) -> list[str]:
    """Return the names of those parts of the models that are not the same in all."""
    models = [parts_of_model(kind.config) for kind in kinds]
    parts = differing(models)
    return [' '.join(model[part] for part in parts if model[part]) for model in models]


def _folders(kinds: Sequence[_Kind]) -> list[str]:
    """Return the names of the work dirs, with as many of the folders above as tell them apart."""
    whole = [kind.work_dir.parts for kind in kinds]
    for paths in ([without_seed(path) or list(path) for path in whole], whole):
        for count in range(1, max(map(len, whole), default=0) + 1):
            names = ['/'.join(path[-count:]) for path in paths]
            if len(set(names)) == len(names):
                return [f'({name})' for name in names]
    return [''] * len(kinds)
