"""The losses of a model's heads, in mmseg and mmpretrain alike."""

from typing import NamedTuple

from torch import nn

# Attributes of a head of mmseg, and of mmpretrain, that hold its loss or losses.
_NAMES = ('loss_decode', 'loss_module')


class HeadLosses(NamedTuple):
    """The losses that a head adds up."""

    head: str
    """Name of the head in the model."""
    losses: dict[str, nn.Module]
    """Losses by their names in the model."""


def choose_head_losses(model: nn.Module, source: str, head: str | None = None) -> HeadLosses:
    """Return the losses of a given head if the model has it, else of the only head, else of ``decode_head``.

    Args:
        model: a model of mmseg or mmpretrain.
        source: file of the model's config, for errors.
        head: name of a head in the model.

    Raises:
        ValueError: a model without such a head, or a head that samples pixels, which its loss alone receives.
    """
    found = _find_head_losses(model)
    if not found:
        raise ValueError(f'no head of the model of {source} has a loss; expected {" or ".join(_NAMES)}')
    wanted = head if head in found else next(iter(found)) if len(found) == 1 else 'decode_head'
    if wanted not in found:
        raise ValueError(
            f'got {"no --head" if head is None else f"--head {head}"} for {source}, whose model has several heads with '
            f'a loss; expected --head with one of {", ".join(found)}'
        )
    if getattr(model.get_submodule(wanted), 'sampler', None) is not None:
        raise ValueError(
            f'the {wanted} of {source} has a sampler of pixels outside of its loss; for OHEM set '
            'mmrecall.OHEMCrossEntropyLoss, without a sampler'
        )
    return found[wanted]


def _find_head_losses(model: nn.Module) -> dict[str, HeadLosses]:
    """Return the losses of every head, by the name of the head in the model."""
    found = {}
    for head, module in model.named_modules():
        for name in _NAMES:
            loss = getattr(module, name, None)
            if isinstance(loss, nn.ModuleList):
                found[head] = HeadLosses(head, {f'{head}.{name}.{number}': one for number, one in enumerate(loss)})
            elif isinstance(loss, nn.Module):
                found[head] = HeadLosses(head, {f'{head}.{name}': loss})
    return found
