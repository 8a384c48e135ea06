"""Losses in turns, so that whatever else the machine does meets all of them."""

import random
import re
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from mmrecall.analysis.benchmark.batches import Batch, make_batch
from mmrecall.analysis.benchmark.competitors import REFERENCE, Competitor
from mmrecall.analysis.benchmark.measure import Step, copy_bandwidth, peak_bytes, seconds_of
from mmrecall.analysis.benchmark.memory import release_memory, set_memory
from mmrecall.analysis.benchmark.results import Measurement, Timing

OnStep = Callable[[str, float], None]

_LONGEST_MESSAGE = 160


class CannotMeasureError(RuntimeError):
    """There is nothing to compare with, or nothing more can be measured."""


class Settings(NamedTuple):
    """How a shape is measured."""

    device: str = 'cpu'
    dtype: str = 'float32'
    rounds: int = 25
    max_seconds: float = 10.0
    """A loss whose first step takes longer is left out of the rounds, and its row says so."""
    seed: int = 0
    memory: str = 'fresh'
    """Of a CPU: ``'fresh'``, given back before every step, or ``'reused'``."""


def measure_losses(
    competitors: Sequence[Competitor],
    name: str,
    shape: tuple[int, ...],
    settings: Settings,
    on_step: OnStep = lambda loss, share: None,
) -> Measurement:
    """Time and peak memory of every loss on one shape; what raises is a timing with an error.

    Args:
        competitors: what is measured, the reference among them.
        name: of the shape.
        shape: (N, C) or (N, C, H, W).
        settings: device, precision, rounds.
        on_step: called with the name of a loss and the share of the work that is done, before every step.

    Raises:
        CannotMeasureError: the reference does not run, or a loss has left the GPU unusable.
    """
    if settings.device == 'cpu':
        set_memory(settings.memory)
    batch = make_batch(shape, getattr(torch, settings.dtype), settings.device, settings.seed)
    fitting = [competitor for competitor in competitors if competitor.fits(batch)]
    bandwidth = copy_bandwidth(settings.device, settings.rounds) if settings.device == 'cuda' else None
    with warnings.catch_warnings():
        # the toolboxes', in every call
        warnings.simplefilter('ignore')
        steps, timings = _prepare(fitting, batch, settings, on_step)
        _run_rounds(steps, timings, settings, on_step)
    return Measurement(
        name,
        shape,
        settings.dtype,
        settings.device,
        settings.memory,
        logits_bytes=batch.logits.numel() * batch.logits.element_size(),
        bandwidth=bandwidth,
        timings=list(timings.values()),
        left_out=[competitor.name for competitor in competitors if not competitor.fits(batch)],
    )


def _prepare(
    competitors: Sequence[Competitor], batch: Batch, settings: Settings, on_step: OnStep
) -> tuple[dict[str, Step], dict[str, Timing]]:
    """The steps that run, and for every loss what is known before the rounds."""
    steps, timings = {}, {}
    for number, competitor in enumerate(competitors):
        on_step(competitor.name, number / len(competitors) / (settings.rounds + 1))
        timing = Timing(competitor.name, competitor.group, [], None)
        try:
            refuse_out_of_bounds(competitor, batch)
            step = competitor.make_step(batch)
            # the first step also makes what later ones have, and is in no round
            seconds = seconds_of(step, settings.device)
            if seconds > settings.max_seconds and competitor.name != REFERENCE:
                raise TimeoutError(f'a step takes {seconds:.3g} s, more than --max-seconds {settings.max_seconds:g}')
            timing = timing._replace(peak_bytes=peak_bytes(step, settings.device))
            steps[competitor.name] = step
        except Exception as error:  # whatever a stock loss raises belongs into its row
            timing = timing._replace(error=describe(error))
            _after_failure(timing, settings)
        timings[competitor.name] = timing
    return steps, timings


def _run_rounds(steps: dict[str, Step], timings: dict[str, Timing], settings: Settings, on_step: OnStep) -> None:
    """Every loss once a round, in an order that changes."""
    order = random.Random(settings.seed)
    for number in range(1, settings.rounds + 1):
        for name in order.sample(list(steps), len(steps)):
            on_step(name, number / (settings.rounds + 1))
            if settings.device == 'cpu' and settings.memory == 'fresh':
                release_memory()
            try:
                timings[name].seconds.append(seconds_of(steps[name], settings.device))
            except Exception as error:
                timings[name] = timings[name]._replace(error=describe(error))
                _after_failure(timings[name], settings)
                del steps[name]


def describe(error: Exception) -> str:
    """Type and first line, in 160 letters.

    Example:
        >>> describe(IndexError('index 255 is out of bounds'))
        'IndexError: index 255 is out of bounds'
    """
    text = f'{type(error).__name__}: {_first_line(error)}'.removesuffix(': ')
    return text if len(text) <= _LONGEST_MESSAGE else f'{text[: _LONGEST_MESSAGE - 1]}…'


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [''])[0].strip()


def refuse_out_of_bounds(competitor: Competitor, batch: Batch) -> None:
    """Raise IndexError if a loss reads out of bounds, which it may try on a CPU: on a GPU it is the end of the process.

    A batch on a CPU passes.
    """
    if batch.logits.device.type == 'cpu':
        return
    shape = (8, batch.logits.shape[1], *((32, 32) if batch.dense else ()))
    try:
        competitor.make_step(make_batch(shape, batch.logits.dtype, 'cpu'))()
    except Exception as error:  # anything else a GPU may do better, as mmseg's focal loss does
        if isinstance(error, IndexError) or re.search('out of (bounds|range)', str(error)):
            raise IndexError(f'{_first_line(error)} (on a CPU; not tried on the GPU)') from error


def _after_failure(timing: Timing, settings: Settings) -> None:
    if timing.loss == REFERENCE:
        raise CannotMeasureError(f'{REFERENCE}, which all are compared with, does not run here: {timing.error}')
    if settings.device != 'cuda':
        return
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError as error:
        raise CannotMeasureError(
            f'{timing.loss} has left the GPU unusable ({timing.error}); choose the others with --losses'
        ) from error
