"""The losses of a model's heads, in mmseg and mmpretrain alike."""

from typing import NamedTuple

from torch import nn

# what a head of mmseg, and of mmpretrain, calls its loss or losses
_NAMES = ('loss_decode', 'loss_module')


class HeadLosses(NamedTuple):
    """What a head adds up to its loss."""

    head: str
    """Name of the head in the model."""
    losses: dict[str, nn.Module]
    """By their names in the model."""


def find_head_losses(model: nn.Module) -> dict[str, HeadLosses]:
    """The losses of every head, by its name in the model.

    Example:
        >>> model = nn.Module()
        >>> model.head = nn.Module()
        >>> model.head.loss_module = nn.CrossEntropyLoss()
        >>> find_head_losses(model)
        {'head': HeadLosses(head='head', losses={'head.loss_module': CrossEntropyLoss()})}
    """
    found = {}
    for head, module in model.named_modules():
        for name in _NAMES:
            loss = getattr(module, name, None)
            if isinstance(loss, nn.ModuleList):
                found[head] = HeadLosses(head, {f'{head}.{name}.{number}': one for number, one in enumerate(loss)})
            elif isinstance(loss, nn.Module):
                found[head] = HeadLosses(head, {f'{head}.{name}': loss})
    return found


def choose_head_losses(model: nn.Module, source: str, head: str | None = None) -> HeadLosses:
    """Those of a head: of the one that is asked for if the model has it, else of the only one, else of ``decode_head``.

    Args:
        model: a model of mmseg or mmpretrain.
        source: where it is from, for errors.
        head: name of a head in the model.

    Raises:
        ValueError: there is none, or it is not clear which; or the head samples pixels, which only its own loss sees.
    """
    found = find_head_losses(model)
    if not found:
        raise ValueError(f'{source}: no head of the model has a loss ({" or ".join(_NAMES)})')
    wanted = head if head in found else next(iter(found)) if len(found) == 1 else 'decode_head'
    if wanted not in found:
        raise ValueError(f'{source} has several heads with a loss, {", ".join(found)}; choose one with --head')
    if getattr(model.get_submodule(wanted), 'sampler', None) is not None:
        raise ValueError(
            f'{source}: the {wanted} has a sampler of pixels, outside of its loss; for OHEM take '
            'mmrecall.OHEMCrossEntropyLoss, without a sampler'
        )
    return found[wanted]
