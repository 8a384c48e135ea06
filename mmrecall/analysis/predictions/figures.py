"""One image with its truth and the predictions of several models: whole, enlarged, and the errors of some classes."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from mmrecall.analysis.display import plain_names
from mmrecall.analysis.predictions.disagreement import ComparedImage, Outcome, Window
from mmrecall.io import atomic_write

Array = np.ndarray

# Okabe and Ito's vermilion and blue, which the colour-blind tell apart
_OUTCOMES = {
    Outcome.FOUND: ((70, 70, 70), 'found (true positive)'),
    Outcome.MISSED: ((213, 94, 0), 'missed (false negative)'),
    Outcome.WRONG: ((0, 114, 178), 'wrongly found (false positive)'),
}
_UNLABELLED = (0, 0, 0)
# of a class's colour over the grey image
_OPACITY = 0.75
# inches
_PANEL_WIDTH, _LINE, _CHARACTER = 3.2, 0.22, 0.09


@plain_names
def draw_compared_predictions(
    path: str | Path,
    image: Array,
    compared: ComparedImage,
    names: Sequence[str],
    classes: Sequence[str],
    palette: Array,
    shown: Sequence[int],
) -> None:
    """Write a PNG with columns for image, truth and every model.

    The rows are the whole image, the window where the models differ most, and for each of some classes what is found,
    missed and wrongly found. Unlabelled pixels are black in the truth and no error.

    Args:
        path: of the PNG.
        image: (H, W, 3) RGB uint8.
        compared: truth and predictions.
        names: of the models.
        classes: names in the order of their numbers.
        palette: (C, 3) uint8 RGB.
        shown: numbers of the classes that get a row.
    """
    entries = _class_entries(compared, classes, palette)
    width = _PANEL_WIDTH * (2 + len(names))
    longest = max(len(entry.get_label()) for entry in entries)
    legend_columns = min(len(entries), int(width / (_CHARACTER * longest + 0.7)) or 1)
    # the title, two lines above the images, one above the maps of a class, the legend, and what is between them
    lines = 5 + 1.5 * len(shown) + -(-len(entries) // legend_columns)
    height = _PANEL_WIDTH * image.shape[0] / image.shape[1] * (2 + len(shown)) + _LINE * lines
    figure = Figure(figsize=(width, height), layout='constrained')
    figure.get_layout_engine().set(h_pad=0.08)
    axes = figure.subplots(2 + len(shown), 2 + len(names), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    _draw_classes(axes[:2], image, compared, palette)
    _name_columns(axes[0], compared, names)
    for row, number in zip(axes[2:], shown, strict=True):
        _draw_outcomes(row, image, compared, number, classes[number])
    share = _percent(compared.disagreement)
    figure.suptitle(f'{compared.name}: predictions differ on {share} % of the labelled pixels')
    figure.legend(handles=entries, loc='outside lower center', ncols=legend_columns, frameon=False, fontsize=11)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110, format='png')


def _class_entries(compared: ComparedImage, classes: Sequence[str], palette: Array) -> list[Patch]:
    """Of the classes that occur in the truth or in a prediction."""
    occurring = np.unique(np.concatenate([np.unique(one) for one in (compared.truth, *compared.predictions)]))
    entries = [_entry(palette[one], classes[one]) for one in occurring if one != compared.ignore_index]
    if compared.ignore_index in occurring:
        entries.append(_entry(_UNLABELLED, 'unlabelled'))
    return entries


def _entry(color: Sequence[int], label: str) -> Patch:
    return Patch(color=np.array(color) / 255, label=label)


def _draw_classes(axes: Array, image: Array, compared: ComparedImage, palette: Array) -> None:
    """The row of the whole image and the row of the window in it."""
    grey = image.mean(-1, keepdims=True)
    maps = (compared.truth, *compared.predictions)
    panels = [image, *(_overlay(grey, palette, one, compared.ignore_index) for one in maps)]
    for whole, enlarged, panel in zip(*axes, panels, strict=True):
        whole.imshow(panel)
        _mark(whole, compared.window)
        enlarged.imshow(compared.window.cut(panel), interpolation='nearest')
        enlarged.spines[:].set(visible=True, linewidth=1.5)


def _overlay(grey: Array, palette: Array, classes_map: Array, ignore_index: int) -> Array:
    ignored = classes_map == ignore_index
    colors = palette[np.where(ignored, 0, classes_map)]
    colors[ignored] = _UNLABELLED
    return np.round(_OPACITY * colors + (1 - _OPACITY) * grey).astype(np.uint8)


def _mark(axis: Axes, window: Window) -> None:
    # pixels have their centres at whole numbers
    corner = (window.left - 0.5, window.top - 0.5)
    # white in black, to be seen on any palette
    effects = [withStroke(linewidth=4, foreground='black')]
    axis.add_patch(
        Rectangle(corner, window.width, window.height, fill=False, color='white', linewidth=1.5, path_effects=effects)
    )


def _name_columns(axes: Array, compared: ComparedImage, names: Sequence[str]) -> None:
    axes[0].set_title('image', fontsize=12)
    axes[1].set_title('truth', fontsize=12)
    for axis, name, scores in zip(axes[2:], names, compared.scores, strict=True):
        means = f'mean accuracy {_percent(scores.mean_accuracy)}, IoU {_percent(scores.mean_iou)}'
        axis.set_title(f'{_wrapped(name)}\n{means}', fontsize=12)


def _draw_outcomes(axes: Array, image: Array, compared: ComparedImage, number: int, name: str) -> None:
    """What the models make of one class: the first panel says which, the second has its true pixels."""
    title = f'{_wrapped(name)}\n{_percent(compared.scores[0].share[number])} % of the labelled pixels'
    axes[0].legend(
        handles=[_entry(*entry) for entry in _OUTCOMES.values()],
        loc='center',
        alignment='left',
        frameon=False,
        fontsize=11,
        title=title,
        title_fontsize=13,
    )
    axes[1].set_title('truth', fontsize=12)
    for axis, scores in zip(axes[2:], compared.scores, strict=True):
        axis.set_title(f'accuracy {_percent(scores.accuracy[number])}, IoU {_percent(scores.iou[number])}', fontsize=12)
    # pale, so that the colours stand out
    background = np.repeat(128 + image.mean(-1, keepdims=True) / 2, 3, -1).astype(np.uint8)
    for axis, prediction in zip(axes[1:], (compared.truth, *compared.predictions), strict=True):
        outcomes, panel = compared.outcomes(prediction, number), background.copy()
        for outcome, (color, _) in _OUTCOMES.items():
            panel[outcomes == outcome] = color
        axis.imshow(panel)


def _wrapped(name: str) -> str:
    return textwrap.fill(name, int(_PANEL_WIDTH / _CHARACTER) - 5)


def _percent(share: float) -> str:
    return 'n/a' if np.isnan(share) else f'{100 * share:.1f}'
