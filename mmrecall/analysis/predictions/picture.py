"""Images, truth and predictions side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colors
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmrecall.io import atomic_write

Array = np.ndarray

# Okabe and Ito's colours, which the colour-blind tell apart; the rest of the scene stays grey
_VIVID = ('#D55E00', '#0072B2', '#009E73', '#CC79A7', '#F0E442', '#56B4E9', '#E69F00')
_IGNORED = 255


def draw_predictions(
    path: str | Path,
    scenes: Sequence[tuple[Array, Array, Sequence[Array]]],
    names: Sequence[str],
    classes: Sequence[str],
    highlighted: Sequence[str],
) -> None:
    """Write a PNG with a row per scene: image, truth, and a column per model.

    Args:
        path: of the PNG.
        scenes: image (RGB uint8), true classes (255 is unlabelled) and the classes that each model predicts.
        names: of the models.
        classes: names in the order of their numbers.
        highlighted: the classes that get a colour, at most seven; all others are shades of grey.

    Raises:
        ValueError: more highlighted classes than colours.
    """
    if len(highlighted) > len(_VIVID):
        raise ValueError(f'{len(highlighted)} highlighted classes, but only {len(_VIVID)} colours can be told apart')
    palette = _palette(classes, highlighted)
    titles = ['image', 'truth', *names]
    height, width = scenes[0][0].shape[:2]
    column = 3.2
    figure = Figure(figsize=(column * len(titles), column * height / width * len(scenes) + 0.75), layout='constrained')
    axes = figure.subplots(len(scenes), len(titles), squeeze=False)
    for row, (image, truth, predictions) in zip(axes, scenes, strict=True):
        row[0].imshow(image)
        for axis, classes_map in zip(row[1:], (truth, *predictions), strict=True):
            axis.imshow(palette[classes_map], interpolation='nearest')
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=12)
    for axis in axes.flat:
        axis.set_axis_off()
    entries = [Patch(color=palette[list(classes).index(name)] / 255, label=name) for name in highlighted]
    entries.append(Patch(color='#8a8a8a', label='all other classes (greys)'))
    figure.legend(handles=entries, loc='outside lower center', ncols=len(entries), frameon=False, fontsize=11)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110, format='png')


def _palette(classes: Sequence[str], highlighted: Sequence[str]) -> Array:
    """(256, 3) uint8 colour of every class number."""
    palette = np.zeros((256, 3), np.uint8)
    others = [name for name in classes if name not in highlighted]
    for shade, name in zip(np.linspace(225, 70, len(others)), others, strict=True):
        palette[list(classes).index(name)] = int(shade)
    for color, name in zip(_VIVID, highlighted, strict=False):
        palette[list(classes).index(name)] = np.round(np.array(colors.to_rgb(color)) * 255)
    palette[_IGNORED] = 0
    return palette
