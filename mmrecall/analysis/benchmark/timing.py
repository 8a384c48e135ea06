"""The time of losses that run in turn, so that other load of the machine slows all of them alike."""

import random
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch

from mmrecall.analysis.benchmark.baselines import REFERENCE, Candidate
from mmrecall.analysis.benchmark.cuda_graph import CannotCaptureError, graph_seconds
from mmrecall.analysis.benchmark.inputs import LossInput, Shape, make_input
from mmrecall.analysis.benchmark.measure import (
    Step,
    copy_bandwidth,
    peak_bytes,
    release_memory,
    seconds_of,
    set_memory,
)
from mmrecall.analysis.benchmark.results import Measurement, Timing

OnStep = Callable[[str, float], None]
Name = TypeVar('Name')

_LONGEST_MESSAGE = 160
# Replays of the CUDA graph of a loss.
_REPLAYS = 20


class CannotMeasureError(RuntimeError):
    """The reference does not run, or a loss has left the GPU unusable."""


class Settings(NamedTuple):
    """Options of a measurement."""

    device: str = 'cpu'
    dtype: str = 'float32'
    rounds: int = 25
    max_seconds: float = 10.0
    """A loss with a longer first step is left out of the rounds, and its row says so."""
    memory: str = 'fresh'
    """Memory of a CPU: ``'fresh'``, given back before every step, or ``'reused'``."""


def measure_losses(
    candidates: Sequence[Candidate],
    name: str,
    shape: Shape,
    settings: Settings,
    on_step: OnStep = lambda text, share: None,
) -> Measurement:
    """Measure time and peak memory of every loss on one shape; a loss that raises has a timing with an error.

    Args:
        candidates: the losses, among them the reference.
        name: name of the shape.
        shape: sizes and stride.
        settings: device, precision, rounds.
        on_step: called before every step, with the names of shape and loss and the share of the work that is done.

    Raises:
        CannotMeasureError: the reference does not run, or a loss has left the GPU unusable.
    """
    if settings.device == 'cpu':
        set_memory(settings.memory)
    given = make_input(shape.sizes, getattr(torch, settings.dtype), settings.device, shape.stride)
    fitting = [candidate for candidate in candidates if candidate.fits(given)]
    timings = {candidate.name: Timing(candidate.name, candidate.group) for candidate in fitting}
    bandwidth = copy_bandwidth(settings.device, settings.rounds) if settings.device == 'cuda' else None
    with warnings.catch_warnings():
        # The toolboxes warn in every call.
        warnings.simplefilter('ignore')
        steps = {}
        for candidate in fitting:
            on_step(f'{name}: {candidate.name}', 0)
            with _errors_kept(timings[candidate.name], settings):
                steps[candidate.name] = _prepare(candidate, given, timings[candidate.name], settings)
        for number, loss in in_turn(steps, settings.rounds):
            if timings[loss].error is None:
                on_step(f'{name}: {loss}', number / settings.rounds)
                _time(steps[loss], timings[loss], settings)
        for loss, step in steps.items() if settings.device == 'cuda' else ():
            if timings[loss].error is None:
                on_step(f'{name}: {loss}, CUDA graph', 1)
                _time_graph(step, timings[loss], settings)
    return Measurement(
        name,
        shape.sizes,
        settings.dtype,
        settings.device,
        settings.memory,
        logits_bytes=given.logits.numel() * given.logits.element_size(),
        bandwidth=bandwidth,
        timings=list(timings.values()),
        left_out=[candidate.name for candidate in candidates if not candidate.fits(given)],
        stride=shape.stride,
        labels_bytes=given.target.numel() * given.target.element_size(),
    )


def in_turn(names: Iterable[Name], rounds: int) -> Iterator[tuple[int, Name]]:
    """Yield the number of every round with every name, in an order that changes from round to round."""
    names, order = list(names), random.Random(0)
    for number in range(rounds):
        for name in order.sample(names, len(names)):
            yield number, name


def _prepare(candidate: Candidate, given: LossInput, timing: Timing, settings: Settings) -> Step:
    """Return the step of a loss, after a first step that is in no round, and measure its memory."""
    refuse_out_of_bounds(candidate, given)
    step = candidate.make_step(given)
    if settings.device == 'cuda':
        # The first call compiles kernels.
        step()
    seconds = seconds_of(step, settings.device)
    if seconds > settings.max_seconds and candidate.name != REFERENCE:
        raise TimeoutError(f'a step takes {seconds:.3g} s, more than --max-seconds {settings.max_seconds:g}')
    timing.peak_bytes = peak_bytes(step, settings.device)
    return step


def _time(step: Step, timing: Timing, settings: Settings) -> None:
    if settings.device == 'cpu' and settings.memory == 'fresh':
        release_memory()
    with _errors_kept(timing, settings):
        timing.seconds.append(seconds_of(step, settings.device))


def _time_graph(step: Step, timing: Timing, settings: Settings) -> None:
    with _errors_kept(timing, settings):
        try:
            timing.graph_seconds = graph_seconds(step, _REPLAYS)
        except CannotCaptureError as error:
            timing.graph_error = str(error)


@contextmanager
def _errors_kept(timing: Timing, settings: Settings) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # A stock loss may raise any error, which its row shows.
        timing.error = describe(error)
        if timing.loss == REFERENCE:
            raise CannotMeasureError(f'the reference, {REFERENCE}, does not run here: {timing.error}') from error
        if settings.device == 'cuda':
            _check_gpu(timing)


def _check_gpu(timing: Timing) -> None:
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError as error:
        raise CannotMeasureError(
            f'{timing.loss} has left the GPU unusable ({timing.error}); choose the others with --losses'
        ) from error


def describe(error: Exception) -> str:
    """Return type and first line of an error, in at most 160 characters.

    Example:
        >>> describe(IndexError('index 255 is out of bounds'))
        'IndexError: index 255 is out of bounds'
    """
    text = f'{type(error).__name__}: {_first_line(error)}'.removesuffix(': ')
    return text if len(text) <= _LONGEST_MESSAGE else f'{text[: _LONGEST_MESSAGE - 1]}…'


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [''])[0].strip()


def refuse_out_of_bounds(candidate: Candidate, given: LossInput) -> None:
    """Try a loss on a small input on the CPU if its input is on a GPU, where reading out of bounds ends the process.

    Raises:
        IndexError: the loss reads out of bounds.
    """
    if given.logits.device.type == 'cpu':
        return
    shape = (8, given.logits.shape[1], *((32, 32) if given.dense else ()))
    stride = 2 if given.low_resolution else 1
    try:
        candidate.make_step(make_input(shape, given.logits.dtype, 'cpu', stride))()
    except Exception as error:  # Other errors, such as that of mmseg's focal loss, may occur on a CPU alone.
        if isinstance(error, IndexError) or re.search('out of (bounds|range)', str(error)):
            raise IndexError(f'{_first_line(error)} (on a CPU; not tried on the GPU)') from error
