"""Number of training samples of every class, as an option of a loss."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mmrecall.functional.compiling import is_compiling
from mmrecall.functional.validation import check_class_counts

AUTOMATIC = 'auto'


class CountedClasses(NamedTuple):
    """Counts of a training set."""

    counts: list[int]
    """Samples (pixels or images) of every class."""
    image_totals: list[int] | None
    """For every class, the labelled pixels of all images that contain it; None if they were not counted."""


class HasCounts(Protocol):
    """Counts of a training set with the totals of its images, and perhaps the class names, ``classes``."""

    @property
    def counts(self) -> Sequence[int]:
        """Samples (pixels or images) of every class."""

    @property
    def image_totals(self) -> Sequence[int] | None:
        """For every class, the labelled pixels of all images that contain it; None if they were not counted."""


Numbers = Sequence[float] | Tensor | npt.NDArray[Any]
"""One number per class."""

CountsOption = Numbers | HasCounts | str
"""Value of ``class_counts`` of the losses."""


class ClassCounts(nn.Module):
    """Samples per class: given as a list, read from a file, or ``'auto'``, counted before training.

    Args:
        source: one number per class; the result of `count_classes`; a file for `read_class_counts`; or ``'auto'``: the
            training set is counted by `mmrecall.engine.ClassCountsHook`, and the counts are kept in the checkpoint.
        num_classes: C; needed for ``'auto'``.
        classes: the class names in order, compared with those of a file.

    Raises:
        ValueError: no counts, counts of another length, negative, not finite, or all 0; names that differ.
        FileNotFoundError: there is no such file.

    Example:
        >>> ClassCounts([90, 10]).read(num_classes=2)
        CountedClasses(counts=[90, 10], image_totals=None)
    """

    # of 'auto' alone; checkpointed; equal on all ranks, because the hook gives every rank the count of rank 0
    counts: Tensor
    image_totals: Tensor

    def __init__(
        self,
        source: CountsOption,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.automatic = isinstance(source, str) and source == AUTOMATIC
        self.num_classes = num_classes
        self.classes = classes
        self._version = 0
        self._values: Tensor | None = None
        self.source = 'class_counts'
        self._given: CountedClasses | None = None
        self.counted_names: Sequence[str] | None = None
        """Class names that were given with the counts; a hook compares them with those of the training set."""
        if self.automatic:
            if num_classes is None:
                raise ValueError(
                    f"got class_counts='{AUTOMATIC}' without num_classes; set num_classes, because one count per "
                    'class is kept'
                )
            self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.long))
            self.register_buffer('image_totals', torch.zeros(num_classes, dtype=torch.long))
            return
        if isinstance(source, str):
            self._given = read_class_counts(source, classes)
            self.counted_names = counted_class_names(source)
        # not isinstance: from Python 3.12 on it misses fields that __getattr__ returns, as mmengine's ConfigDict does
        elif hasattr(source, 'image_totals'):
            counted = cast(HasCounts, source)
            self._given = _counted('class_counts', counted.counts, counted.image_totals)
            self.counted_names = getattr(source, 'classes', None)
        else:
            self._given = _counted('class_counts', source, None)
        self.source = f'class_counts {source}' if isinstance(source, str) else 'class_counts'
        self._check_length(len(self._given.counts), num_classes)
        self.num_classes = len(self._given.counts)

    @property
    def known(self) -> bool:
        """Whether the counts are known: given, set, or loaded from a checkpoint."""
        return self._given is not None or bool(self.counts.any())

    @property
    def version(self) -> int:
        """Number that changes with the counts, so that values computed from them can be kept.

        An averaged model writes into the counts of its copy without a call of this class, so the values are compared,
        except in a training step on a GPU, which would wait for the device, and where no value can be read.
        """
        in_transform = is_compiling() or torch._C._are_functorch_transforms_active()
        if self.automatic and not in_transform and (self.counts.device.type == 'cpu' or not self.training):
            values = torch.stack((self.counts, self.image_totals))
            before = self._values
            if before is None or before.device != values.device or not torch.equal(before, values):
                self._values = values
                self._version += 1
        return self._version

    def set(self, counts: Sequence[int], image_totals: Sequence[int] | None = None) -> None:
        """Set the counts of ``'auto'``."""
        if self._given is not None:
            raise ValueError(
                f'got counts for class_counts that are given, {self._given.counts}; expected class_counts={AUTOMATIC!r}'
            )
        counted = _counted('class_counts', counts, image_totals)
        self._check_length(len(counted.counts), self.num_classes)
        self.counts.copy_(torch.as_tensor(counted.counts))
        self.image_totals.copy_(torch.as_tensor(counted.image_totals or [0] * len(counted.counts)))
        self._version += 1

    def read(self, num_classes: int) -> CountedClasses:
        """Return the counts.

        Raises:
            ValueError: they are of another number of classes, or not known yet.
        """
        if not self.known:
            raise ValueError(
                f"got class_counts='{AUTOMATIC}', but the training set has not been counted yet; set "
                "custom_hooks=[dict(type='mmrecall.ClassCountsHook')] in the config, or set class_counts to the file "
                'that `mmrecall class-statistics` writes'
            )
        if self._given is not None:
            self._check_length(len(self._given.counts), num_classes)
            return self._given
        self._check_length(len(self.counts), num_classes)
        totals = self.image_totals.tolist()
        return CountedClasses(self.counts.tolist(), totals if any(totals) else None)

    def _check_length(self, length: int, num_classes: int | None) -> None:
        if num_classes is not None and length != num_classes:
            raise ValueError(f'got {self.source} with {length} entries; expected {num_classes}, one for every class')

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._version += 1


def read_class_counts(path: str, classes: Sequence[str] | None = None, field: str = 'counts') -> CountedClasses:
    """Read counts from a file: JSON or YAML with a list, or with ``counts`` in a dict; or a .npy array.

    ``mmrecall class-statistics`` writes such a file.

    Args:
        path: the file.
        classes: the class names in order, compared with those of a dict.
        field: name of the counts in a dict; ``'images'`` for the numbers of images that contain the class.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no counts, or those of other classes.
    """
    content = read_file('class_counts', path, repr(AUTOMATIC))
    if not isinstance(content, Mapping):
        return _counted(path, content, None)
    if field not in content:
        raise ValueError(f'{path}: got {reprlib.repr(list(content))}; expected {field!r} among them')
    names = content.get('classes')
    if classes is not None and names is not None and names != list(classes):
        raise ValueError(f'{path}: got counts of the classes {names}; expected {list(classes)}')
    return _counted(path, content[field], content.get('image_totals'))


def counted_class_names(path: str) -> list[str] | None:
    """Return the class names in a file for `read_class_counts`; None if it has none."""
    content = read_file('class_counts', path, repr(AUTOMATIC))
    names = content.get('classes') if isinstance(content, Mapping) else None
    return names if isinstance(names, list) else None


def _counted(where: str, counts: Numbers, image_totals: Numbers | None) -> CountedClasses:
    for values in (counts,) if image_totals is None else (counts, image_totals):
        numbers = one_number_per_class(where, values)
        try:
            check_class_counts(numbers)
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from error
    if image_totals is not None and len(image_totals) != len(counts):
        raise ValueError(f'{where}: got {len(counts)} counts, but {len(image_totals)} image_totals; expected as many')
    as_list = (torch.as_tensor(values).tolist() for values in (counts, image_totals) if values is not None)
    return CountedClasses(next(as_list), next(as_list, None))


def one_number_per_class(where: str, values: object) -> Tensor:
    """Return a list, an array or a tensor of numbers as a (C,) tensor.

    Raises:
        ValueError: it is something else.
    """
    try:
        numbers = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f'{where}: got {reprlib.repr(values)}; expected one number per class, in order') from error
    if numbers.ndim != 1 or numbers.dtype.is_complex:
        raise ValueError(f'{where}: got {reprlib.repr(values)}; expected one number per class, in order')
    return numbers


def read_file(argument: str, path: str, names: str, hint: str = '') -> Any:
    """Return the content of a .json, .yml, .yaml or .npy file; without one, the message ends with the hint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file of another kind, or one that cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'got {argument}={path!r}; expected {names}, or a file{hint}')
    try:
        if path.endswith('.npy'):
            return np.load(path, allow_pickle=False).tolist()
        if path.endswith(('.json', '.yml', '.yaml')):
            text = Path(path).read_text(encoding='utf-8-sig')
            return json.loads(text) if path.endswith('.json') else _read_yaml(text)
    except ImportError as error:
        raise ImportError(f'{argument}: {path} needs PyYAML; pip install pyyaml, or use a .json file') from error
    except Exception as error:
        raise ValueError(f'{argument}: {path} cannot be read ({error})') from error
    raise ValueError(f'{argument}: got {path}; expected a file that ends with .json, .yml, .yaml or .npy')


def _read_yaml(text: str) -> Any:
    # imports PyYAML, which JSON files do not need
    from mmrecall.io.plain_yaml import read_plain_yaml

    return read_plain_yaml(text)
