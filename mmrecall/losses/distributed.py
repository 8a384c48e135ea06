"""Communication between ranks: one all-reduce of small sums between `update` and `compute`, or the features."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mmrecall.functional.batch import Sums
from mmrecall.functional.compiling import is_compiling
from mmrecall.functional.statistics import widest_float
from mmrecall.functional.validation import count_invalid_labels, describe_invalid_labels


def is_distributed(sync: bool) -> bool:
    """Return whether there are other ranks to sum over."""
    return sync and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def reduce(sums: Sums, num_classes: int, num_counts: int = 3) -> Sums:
    """Add up the sums of all ranks in one all-reduce; the losses are not included.

    Every rank must call it, also one whose batch is empty or ignored; one that refuses its batch calls
    `announce_refusal` instead. The message always has ``num_counts`` vectors of counts, so that every rank
    sends a message of the same size. float64 holds counts up to 2**53.
    """
    device = sums.num_samples.device
    zero = torch.zeros((), dtype=widest_float(device), device=device)
    counts = [count.to(zero) for count in sums.counts]
    counts += [zero.expand(num_classes)] * (num_counts - len(counts))
    numbers = (sums.num_samples, sums.invalid_labels, sums.nonfinite, sums.refusals)
    flat = torch.cat([*counts, torch.stack([zero if one is None else one.to(zero) for one in numbers])])
    dist.all_reduce(flat)
    *totals, last = torch.split_with_sizes(flat, [num_classes] * num_counts + [len(numbers)])
    num_samples, invalid_labels, nonfinite, refusals = last.unbind()
    return sums._replace(
        counts=tuple(totals[: len(sums.counts)]),
        num_samples=num_samples,
        invalid_labels=invalid_labels,
        nonfinite=nonfinite,
        refusals=refusals,
        num_ranks=dist.get_world_size(),
    )


def announce_refusal(num_classes: int, device: torch.device, num_counts: int) -> None:
    """Take part in the all-reduce of `reduce` before raising, so that the other ranks raise too instead of waiting."""
    zero = torch.zeros((), dtype=widest_float(device), device=device)
    reduce(Sums(losses=None, num_samples=zero, refusals=zero + 1), num_classes, num_counts)


def gather_images(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Gather features (N, D) and labels (N,) of all ranks, in their order; only this rank's have a gradient.

    Every rank must call it, also one whose batch is empty; one that refuses its batch calls `announce_refused_images`
    instead. The host waits for the numbers of images.

    Raises:
        ValueError: on all ranks, if the batch of another one was refused, or the numbers of channels differ.
    """
    numbers, channels = _exchange_sizes(len(features), features.shape[1], features.device)
    if _REFUSED in numbers:
        raise ValueError(_describe_refusals(numbers.count(_REFUSED)))
    if len(set(channels)) > 1:
        raise ValueError(
            f'got features with {", ".join(map(str, channels))} channels on ranks 0 to {len(channels) - 1}; expected '
            'the same number on all ranks'
        )
    return _gather_rows(features, numbers), _gather_rows(labels.long(), numbers)


def announce_refused_images(device: torch.device) -> None:
    """Take part in `gather_images` before raising, so that the other ranks raise too instead of waiting."""
    _exchange_sizes(_REFUSED, 0, device)


# stands for the number of images where a batch is refused
_REFUSED = -1


def _exchange_sizes(number: int, channels: int, device: torch.device) -> tuple[list[int], list[int]]:
    sizes = torch.tensor([number, channels], device=device)
    all_sizes = [torch.empty_like(sizes) for _ in range(dist.get_world_size())]
    dist.all_gather(all_sizes, sizes)
    numbers, all_channels = torch.stack(all_sizes).T.tolist()
    return numbers, all_channels


def _gather_rows(rows: Tensor, numbers: list[int]) -> Tensor:
    """Return the rows of all ranks."""
    padded = rows.new_zeros(max(numbers), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(parts, padded)
    parts = [part[:number] for part, number in zip(parts, numbers, strict=True)]
    parts[dist.get_rank()] = rows
    return torch.cat(parts)


class LabelCheck:
    """Check on all ranks that every label of the (global) batch is a class or ignored; raise ValueError otherwise.

    In training on a GPU the flags are copied to the host in the background and read at the next call, one step late,
    so that no step waits for the device; until then the bad labels are left out. A CUDA graph checks nothing, neither
    while it is captured nor when it is replayed, because the host has no part in a replay: bad labels are left out.

    Args:
        loss: name of the loss, for errors.
        use_sigmoid: whether the labels are those of a sigmoid, 0 and 1.
    """

    def __init__(self, loss: str = 'this loss', use_sigmoid: bool = False) -> None:
        self.loss = loss
        self.use_sigmoid = use_sigmoid
        self._pending: tuple[Tensor, torch.cuda.Event, Tensor, int, int] | None = None

    def __call__(self, sums: Sums, target: Tensor, num_classes: int, ignore_index: int, is_training_step: bool) -> None:
        """Check this batch, or in training on a GPU the one before and remember this one."""
        invalid_labels, refusals = sums.invalid_labels, sums.refusals
        assert invalid_labels is not None
        if not target.is_cuda or not is_training_step:
            # inside torch.func.vmap no value can be read
            if torch._C._are_functorch_transforms_active() and _is_in_vmap(invalid_labels):
                return
            refused = 0.0 if refusals is None else float(refusals)
            self._raise_for(float(invalid_labels), refused, target, num_classes, ignore_index)
            return
        # a compiler cannot trace this query, and its own code is in no CUDA graph that the user captures
        if not is_compiling() and torch.cuda.is_current_stream_capturing():
            return
        self.raise_pending()
        flags = invalid_labels if refusals is None else torch.stack([invalid_labels, refusals])
        self._pending = (*_copy_in_background(flags), target, num_classes, ignore_index)

    def raise_pending(self) -> None:
        """Raise for the batch before, if it has not been checked yet."""
        if self._pending is None:
            return
        host, copied, target, num_classes, ignore_index = self._pending
        self._pending = None
        copied.synchronize()
        invalid_labels, refusals = host.tolist() if host.ndim else (host.item(), 0)
        self._raise_for(invalid_labels, refusals, target, num_classes, ignore_index)

    def _raise_for(
        self, invalid_labels: float, refusals: float, target: Tensor, num_classes: int, ignore_index: int
    ) -> None:
        if invalid_labels > 0:
            if count_invalid_labels(target, num_classes, ignore_index, use_sigmoid=self.use_sigmoid) > 0:
                found = describe_invalid_labels(target, num_classes, ignore_index, self.use_sigmoid)
                raise ValueError(f'{self.loss}: {found}')
            labels = '[0, 1]' if self.use_sigmoid else f'[0, {num_classes})'
            raise ValueError(
                f'{self.loss}: got {int(invalid_labels)} label(s) on another rank outside {labels} that are not '
                f'ignore_index={ignore_index}; see the error of that rank'
            )
        if refusals > 0:
            raise ValueError(_describe_refusals(int(refusals)))

    def __getstate__(self) -> dict[str, Any]:
        # events cannot be pickled, and a copy has seen no batch
        return {'loss': self.loss, 'use_sigmoid': self.use_sigmoid, '_pending': None}


def _is_in_vmap(tensor: Tensor) -> bool:
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def _copy_in_background(flags: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    """Return the flags on the host, and the event after which they are there."""
    # not on the default device, which may be a GPU
    host = torch.empty(flags.shape, dtype=flags.dtype, device='cpu', pin_memory=True)
    host.copy_(flags, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(flags.device))
    return host, copied


def _describe_refusals(ranks: int) -> str:
    return f'got arguments of this loss that {ranks} other rank(s) refused; see the errors of those ranks'
