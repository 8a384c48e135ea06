"""Figures of images with their truth and the predictions of several models, and a table of their scores."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colors, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from rich import box
from rich.markup import escape
from rich.table import Table

from mmrecall.analysis.predictions.disagreement import ComparedImage, Outcome, Window
from mmrecall.io import atomic_write

Array = np.ndarray

# Okabe and Ito's vermilion and blue, which colour-blind readers can distinguish.
_OUTCOMES = {
    Outcome.FOUND: ((70, 70, 70), 'found (true positive)'),
    Outcome.MISSED: ((213, 94, 0), 'missed (false negative)'),
    Outcome.WRONG: ((0, 114, 178), 'wrongly found (false positive)'),
}
_UNLABELLED, _GREY = (0, 0, 0), (138, 138, 138)
# Opacity of the colour of a class over the grey image.
_OPACITY = 0.75
# All of Okabe and Ito's colours.
_VIVID = ('#D55E00', '#0072B2', '#009E73', '#CC79A7', '#F0E442', '#56B4E9', '#E69F00')
# Sizes in inches.
_PANEL_WIDTH, _LINE, _CHARACTER = 3.2, 0.22, 0.09


# A class may be called $x$, which is no formula.
@rc_context({'text.parse_math': False})
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

    The rows are the whole image, the window in which the models differ most, and for each of some classes the true
    positives, false negatives and false positives. Unlabelled pixels are black in the truth and no error.

    Args:
        path: path of the PNG.
        image: (H, W, 3) RGB uint8.
        compared: truth and predictions.
        names: names of the models.
        classes: names in the order of their numbers.
        palette: (C, 3) uint8 RGB.
        shown: numbers of the classes that have a row.
    """
    entries = _class_entries(compared, classes, palette)
    width = _PANEL_WIDTH * (2 + len(names))
    longest = max(len(entry.get_label()) for entry in entries)
    legend_columns = min(len(entries), int(width / (_CHARACTER * longest + 0.7)) or 1)
    # Lines are needed for the title, above the panels (two, or one in the row of a class), for the legend and for gaps.
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
    _save(figure, path)


def _class_entries(compared: ComparedImage, classes: Sequence[str], palette: Array) -> list[Patch]:
    """Return the legend of the classes that occur in the truth or in a prediction."""
    occurring = np.unique(np.concatenate([np.unique(one) for one in (compared.truth, *compared.predictions)]))
    entries = [_entry(palette[one], classes[one]) for one in occurring if one != compared.ignore_index]
    if compared.ignore_index in occurring:
        entries.append(_entry(_UNLABELLED, 'unlabelled'))
    return entries


def _entry(color: Sequence[int], label: str) -> Patch:
    return Patch(color=np.array(color) / 255, label=label)


def _draw_classes(axes: Array, image: Array, compared: ComparedImage, palette: Array) -> None:
    """Draw the row of the whole image and the row of the window."""
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
    # The centres of pixels are at whole numbers.
    corner = (window.left - 0.5, window.top - 0.5)
    # White with a black edge is visible on any palette.
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
    """Draw the row of one class: a panel with its name and the legend, its true pixels, and those of each model."""
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
    # The image is pale, so that the colours are conspicuous.
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


def scores_table(compared: Sequence[ComparedImage], names: Sequence[str]) -> Table:
    """Return a table with the disagreement and the window of each image, and the scores of each model."""
    table = Table(title='Mean accuracy and mean IoU of each image, in %', box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in ('image', 'differs', 'window\nx, y', 'run', 'accuracy', 'IoU'):
        table.add_column(head, justify='left' if head in ('image', 'run') else 'right', no_wrap=True)
    for image in compared:
        # Only the first row of an image has them.
        cells = (escape(image.name), _percent(image.disagreement), f'{image.window.left}, {image.window.top}')
        for name, scores in zip(names, image.scores, strict=True):
            table.add_row(*cells, escape(name), _percent(scores.mean_accuracy), _percent(scores.mean_iou))
            cells = ('', '', '')
    return table


def draw_predictions(
    path: str | Path,
    scenes: Sequence[tuple[Array, Array, Sequence[Array]]],
    names: Sequence[str],
    classes: Sequence[str],
    highlighted: Sequence[str],
) -> None:
    """Write a PNG with a row per scene: image, truth, and a column per model.

    Args:
        path: path of the PNG.
        scenes: image (RGB uint8), true classes (255 is unlabelled) and the classes that each model predicts.
        names: names of the models.
        classes: names in the order of their numbers.
        highlighted: classes that have a colour, at most seven; all others are shades of grey.

    Raises:
        ValueError: more highlighted classes than colours.
    """
    if len(highlighted) > len(_VIVID):
        raise ValueError(f'got {len(highlighted)} highlighted classes; expected at most {len(_VIVID)}')
    shades = iter(np.linspace(225, 70, len(classes) - len(highlighted)))
    # Unlabelled pixels, which have class 255, stay black.
    palette = np.zeros((256, 3), np.uint8)
    for number, name in enumerate(classes):
        vivid = name in highlighted
        palette[number] = _rgb(_VIVID[list(highlighted).index(name)]) if vivid else int(next(shades))
    titles = ['image', 'truth', *names]
    height, width = scenes[0][0].shape[:2]
    panel_height = _PANEL_WIDTH * height / width
    size = (_PANEL_WIDTH * len(titles), panel_height * len(scenes) + 0.75)
    figure = Figure(figsize=size, layout='constrained')
    axes = figure.subplots(len(scenes), len(titles), squeeze=False)
    for row, (image, truth, predictions) in zip(axes, scenes, strict=True):
        row[0].imshow(image)
        for axis, classes_map in zip(row[1:], (truth, *predictions), strict=True):
            axis.imshow(palette[classes_map], interpolation='nearest')
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=12)
    for axis in axes.flat:
        axis.set_axis_off()
    entries = [_entry(_rgb(color), name) for color, name in zip(_VIVID, highlighted, strict=False)]
    entries.append(_entry(_GREY, 'all other classes (greys)'))
    figure.legend(handles=entries, loc='outside lower center', ncols=len(entries), frameon=False, fontsize=11)
    _save(figure, path)


def _rgb(color: str) -> Array:
    return np.round(np.array(colors.to_rgb(color)) * 255)


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110, format='png')
