"""What crosses ranks: one small all-reduce between the local counts and the loss; or the features of the batch."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from mmrecall.functional.validation import count_invalid_labels, describe_invalid_labels


class BatchSummary(NamedTuple):
    """What the loss must know of its batch. The same numbers, summed over ranks, describe the global batch."""

    counts: tuple[Tensor, ...]
    """(C,) each; which ones is the loss's business, but the same on every rank."""
    num_samples: Tensor
    """What the loss is divided by."""
    invalid_labels: Tensor
    """Labels that are neither a class nor ignored."""
    poison: Tensor
    """0, or NaN if the losses of a rank are not all finite."""
    failures: Tensor
    """Ranks whose arguments were refused before anything could be counted."""


def spans_ranks(sync: bool) -> bool:
    """Whether there are other ranks to sum over."""
    return sync and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(local: BatchSummary) -> BatchSummary:
    """The summary of the global batch: the element-wise sum over all ranks, in one all-reduce.

    Every rank must come, also one whose batch is empty, ignored or refused (`announce_failure`). float64 holds counts
    up to 2**53.
    """
    flat = torch.cat([count.double() for count in local.counts] + [number.double().reshape(1) for number in local[1:]])
    dist.all_reduce(flat)
    *counts, scalars = flat.split([len(count) for count in local.counts] + [len(local) - 1])
    return BatchSummary(tuple(counts), *scalars.unbind())


def own_share(loss: Tensor, num_ranks: int) -> Tensor:
    """A loss that all ranks know, divided among them; its gradient, which is this rank's own, stays whole."""
    return loss - loss.detach() * (1 - 1 / num_ranks)


def announce_failure(num_counts: int, num_classes: int, device: torch.device) -> None:
    """Take part in the all-reduce of a rank that is about to raise, so that the others raise too, not wait."""
    zeros = torch.zeros(num_classes, device=device)
    zero = torch.zeros((), device=device)
    sum_over_ranks(BatchSummary((zeros,) * num_counts, zero, zero, zero, failures=zero + 1))


def gather_images(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of the global batch, in the order of the ranks; only this rank's have a gradient.

    Every rank must come, also one whose batch is empty or refused (`announce_refused_images`). The host waits for the
    numbers of images.

    Raises:
        ValueError: on all ranks, another one was refused, or the numbers of channels differ.
    """
    numbers, channels = _exchange_sizes(len(features), features.shape[1], features.device)
    if _REFUSED in numbers:
        raise ValueError(_describe_failures(numbers.count(_REFUSED)))
    if len(set(channels)) > 1:
        raise ValueError(f'the features of the ranks have {", ".join(map(str, channels))} channels; they must be equal')
    return _gather_rows(features, numbers), _gather_rows(labels.long(), numbers)


def announce_refused_images(device: torch.device) -> None:
    """Take part for a rank that is about to raise, so that the others raise in `gather_images` too, not wait."""
    _exchange_sizes(_REFUSED, 0, device)


# instead of a number of images
_REFUSED = -1


def _exchange_sizes(number: int, channels: int, device: torch.device) -> tuple[list[int], list[int]]:
    sizes = torch.tensor([number, channels], device=device)
    all_sizes = [torch.empty_like(sizes) for _ in range(dist.get_world_size())]
    dist.all_gather(all_sizes, sizes)
    numbers, all_channels = torch.stack(all_sizes).T.tolist()
    return numbers, all_channels


def _gather_rows(rows: Tensor, numbers: list[int]) -> Tensor:
    """The rows of all ranks, of which each has its number."""
    padded = rows.new_zeros(max(numbers), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(parts, padded)
    parts = [part[:number] for part, number in zip(parts, numbers, strict=True)]
    parts[dist.get_rank()] = rows
    return torch.cat(parts)


class LabelCheck:
    """Raises ValueError on all ranks when a label of the (global) batch is neither a class nor ignored.

    In training on a GPU the flags are copied to the host in the background and read at the next call, one step late,
    so that no step waits for the device; until then the bad labels are left out.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, torch.cuda.Event, Tensor, int, int] | None = None

    def __call__(
        self, batch: BatchSummary, target: Tensor, num_classes: int, ignore_index: int, training_step: bool
    ) -> None:
        """Check this batch, or in training on a GPU the one before and remember this one."""
        if not target.is_cuda or not training_step:
            _raise_for(float(batch.invalid_labels), float(batch.failures), target, num_classes, ignore_index)
            return
        self.raise_pending()
        flags = torch.stack([batch.invalid_labels.double(), batch.failures.double()])
        self._pending = (*_copy_in_background(flags), target, num_classes, ignore_index)

    def raise_pending(self) -> None:
        """Raise for the batch before, if it is still to be judged."""
        if self._pending is None:
            return
        host, copied, target, num_classes, ignore_index = self._pending
        self._pending = None
        copied.synchronize()
        _raise_for(*host.tolist(), target, num_classes, ignore_index)

    def __getstate__(self) -> dict:
        # events cannot be pickled, and a copy has seen no batch
        return {'_pending': None}


def _copy_in_background(flags: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    """The flags on the host, and when they are there."""
    host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
    host.copy_(flags, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(flags.device))
    return host, copied


def _raise_for(invalid_labels: float, failures: float, target: Tensor, num_classes: int, ignore_index: int) -> None:
    if invalid_labels > 0:
        if count_invalid_labels(target, num_classes, ignore_index) > 0:
            raise ValueError(describe_invalid_labels(target, num_classes, ignore_index))
        raise ValueError(
            f'{int(invalid_labels)} label(s) on another rank are outside [0, {num_classes}) and not '
            f'ignore_index={ignore_index}; that rank says which'
        )
    if failures > 0:
        raise ValueError(_describe_failures(int(failures)))


def _describe_failures(ranks: int) -> str:
    return f'{ranks} other rank(s) refused the arguments of this loss; they say why'
