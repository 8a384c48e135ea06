"""Class weights in the forms of a config: a scheme, a list, a dict by class index or name, or a file."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmrecall.functional.statistics import widest_float
from mmrecall.functional.validation import check_finite, check_integer
from mmrecall.functional.weight_schemes import (
    check_beta,
    check_tempering,
    effective_number_weights,
    enet_weights,
    inverse_frequency_weights,
    median_frequency_weights,
    tempered_weights,
)

from .class_counts import ClassCounts, CountedClasses, Numbers, one_number_per_class, read_file

ClassWeight = Numbers | Mapping[Any, float] | str
SCHEMES = ('inverse_frequency', 'median_frequency', 'effective_number', 'enet')


class SchemeOptions(NamedTuple):
    """Options of the schemes of class weights."""

    beta: float | None = None
    """Of ``'effective_number'``."""
    power: float = 1.0
    """Exponent of the weights, see `tempered_weights`."""
    min_weight: float | None = None
    """Smallest weight."""
    max_weight: float | None = None
    """Largest weight."""

    def check(self, class_weight: object) -> None:
        """Raise TypeError or ValueError for values that are not allowed, or that these class weights do not use."""
        scheme = class_weight if isinstance(class_weight, str) and class_weight in SCHEMES else None
        if self.beta is not None and scheme != 'effective_number':
            raise ValueError(
                f"got beta={self.beta} with class_weight={class_weight!r}; expected class_weight='effective_number'"
            )
        if self.beta is not None:
            check_beta(self.beta)
        check_tempering(self.power, self.min_weight, self.max_weight)
        if scheme is None and self != DEFAULTS:
            options = ', '.join(f'{name}={value}' for name, value in self._asdict().items() if name != 'beta')
            raise ValueError(
                f'got {options} with class_weight={class_weight!r}, which is used as it is; set class_weight to one of '
                f'{_NAMES}, or leave power, min_weight and max_weight out'
            )


DEFAULTS = SchemeOptions()
_NAMES = ', '.join(map(repr, SCHEMES))


class DeviceTensor:
    """A tensor computed from options, on the device of the logits; computed again when its key changes.

    It is no buffer, because a buffer that appears with the first batch confuses EMA hooks.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._value: Tensor | None = None

    def get(self, key: tuple[object, ...], device: torch.device, make: Callable[[], Tensor]) -> Tensor:
        """Return the tensor for ``key``, computed by ``make`` if the key is new."""
        if self._value is None or self._key != (*key, device):
            self._key, self._value = (*key, device), _make(make, device)
        return self._value


@torch.compiler.disable  # type: ignore[untyped-decorator]
@torch.inference_mode(False)
def _make(make: Callable[[], Tensor], device: torch.device) -> Tensor:
    # no part of a compiled graph, and not an inference tensor, which a later training step could not use
    return make().to(device, widest_float(device))


class FixedClassWeights:
    """Class weights of the options ``class_weight``, ``class_counts`` and those of the schemes, on the logits' device.

    Args:
        class_weight: a scheme, a list, a dict, a file, or None for ones.
        class_counts: for the schemes.
        classes: the class names in order, for weights by name.
        options: of the schemes.
    """

    def __init__(
        self,
        class_weight: ClassWeight | None,
        class_counts: ClassCounts | None = None,
        classes: Sequence[str] | None = None,
        options: SchemeOptions = DEFAULTS,
    ) -> None:
        self._resolved = resolve_class_weight(class_weight, class_counts is not None, options)
        self._class_counts = class_counts
        self._classes = classes
        self._options = options
        self._tensor = DeviceTensor()

    @property
    def is_scheme(self) -> bool:
        """Whether the weights are computed from class counts."""
        return isinstance(self._resolved, str)

    @property
    def num_classes(self) -> int | None:
        """Length of a list of weights; None if they are no list."""
        return number_of_classes(self._resolved)

    def get(self, num_classes: int, device: torch.device, enabled: bool = True) -> Tensor:
        """Return the (C,) weights in `widest_float`; ones if they are not enabled.

        Raises:
            ValueError: class counts that are not known yet, or of another number of classes.
        """
        version = 0 if self._class_counts is None else self._class_counts.version
        return self._tensor.get((num_classes, version, enabled), device, lambda: self._make(num_classes, enabled))

    def _make(self, num_classes: int, enabled: bool) -> Tensor:
        counted = None if self._class_counts is None else self._class_counts.read(num_classes)
        if self._resolved is None or not enabled:
            return torch.ones(num_classes, dtype=torch.float64)
        return class_weight_tensor(self._resolved, num_classes, self._classes, counted, self._options)


def class_weight_tensor(
    class_weight: ClassWeight,
    num_classes: int,
    classes: Sequence[str] | None = None,
    counted: CountedClasses | None = None,
    options: SchemeOptions = DEFAULTS,
) -> Tensor:
    """Return the (C,) float64 weights of the result of `resolve_class_weight`; classes absent from a dict have 1.

    Raises:
        ValueError: a list of another length, a class that does not exist, a weight that is negative or not finite.

    Example:
        >>> class_weight_tensor({'pole': 3.0, 0: 0.5}, 3, classes=('road', 'car', 'pole'))
        tensor([0.5000, 1.0000, 3.0000], dtype=torch.float64)
        >>> class_weight_tensor('inverse_frequency', 2, counted=CountedClasses([90, 10], None))
        tensor([0.2000, 1.8000], dtype=torch.float64)
    """
    if isinstance(class_weight, str):
        # `resolve_class_weight` refuses a scheme without counts
        assert counted is not None
        weights = _weights_by_scheme(class_weight, counted, options.beta)
        return tempered_weights(weights, options.power, options.min_weight, options.max_weight)
    if isinstance(class_weight, Mapping):
        weights = torch.ones(num_classes, dtype=torch.float64)
        for key, weight in class_weight.items():
            weights[_class_index(key, num_classes, classes)] = weight
    else:
        weights = one_number_per_class('class_weight', class_weight).double()
        if weights.shape != (num_classes,):
            raise ValueError(
                f'got class_weight with {weights.numel()} entries, {class_weight}; expected {num_classes}, one for '
                'every class'
            )
    if not bool(((weights >= 0) & weights.isfinite()).all()):
        raise ValueError(f'got class_weight={class_weight}; expected weights that are finite and at least 0')
    return weights


def resolve_class_weight(
    class_weight: ClassWeight | None, has_counts: bool = False, options: SchemeOptions = DEFAULTS
) -> ClassWeight | None:
    """Return the class weights; those of a file are read.

    Raises:
        ValueError: a scheme without counts, or options that `SchemeOptions.check` refuses.
        FileNotFoundError: a string that is neither a scheme nor a file.
    """
    _check_kind(class_weight)
    options.check(class_weight)
    if not isinstance(class_weight, str):
        return class_weight
    if class_weight not in SCHEMES:
        return _read_class_weight(class_weight, f'one of {_NAMES}', _scheme_hint(class_weight))
    if not has_counts:
        raise ValueError(
            f"got class_weight={class_weight!r} without class_counts; set class_counts to a list, a file, or 'auto' to "
            'count the training set'
        )
    return class_weight


def class_factors(class_weight: ClassWeight | None) -> ClassWeight | None:
    """Return explicit factors of the classes, a list or a dict, and read them if a file is given.

    Raises:
        ValueError: the name of a scheme, or a file with neither a list nor a dict.
        FileNotFoundError: there is no such file.
    """
    _check_kind(class_weight)
    if isinstance(class_weight, str) and class_weight in SCHEMES:
        raise ValueError(
            f'got class_weight={class_weight!r}; expected a list, a dict or a file; for schemes of class '
            'counts use WeightedCrossEntropyLoss'
        )
    return _read_class_weight(class_weight, 'a list, a dict') if isinstance(class_weight, str) else class_weight


def number_of_classes(class_weight: ClassWeight | None) -> int | None:
    """Return the length of a list of weights; None if it is no list."""
    return None if class_weight is None or isinstance(class_weight, (str, Mapping)) else len(class_weight)


def number_of_names(classes: Sequence[str] | None, num_classes: int | None, option: str = 'classes') -> int | None:
    """Return the number of class names, or ``num_classes`` without names; ``option`` is the name of the argument.

    Raises:
        TypeError: ``classes`` is no list of names.
        ValueError: there are more or fewer names than classes.
    """
    if classes is None:
        return num_classes
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f'got {option}={classes!r}; expected a list of the class names in order')
    if num_classes is not None:
        check_integer('num_classes', num_classes)
        if num_classes != len(classes):
            raise ValueError(
                f'got num_classes={num_classes}, but {len(classes)} names in {option}; expected the same number'
            )
    return len(classes)


def _check_kind(class_weight: object) -> None:
    if isinstance(class_weight, Mapping):
        for key, weight in class_weight.items():
            check_finite(f'class_weight[{key!r}]', weight)
    elif class_weight is not None and not isinstance(class_weight, str):
        one_number_per_class('class_weight', class_weight)


def _scheme_hint(name: str) -> str:
    if 'sqrt' in name.lower() or 'square' in name.lower():
        return "; for weights 1 / sqrt(count) set class_weight='inverse_frequency' and power=0.5"
    similar = get_close_matches(name.lower().replace('-', '_'), SCHEMES, n=1, cutoff=0.5)
    return f'; similar: {similar[0]!r}' if similar else ''


def _read_class_weight(path: str, names: str, hint: str = '') -> ClassWeight:
    content: ClassWeight = read_file('class_weight', path, names, hint)
    if isinstance(content, Mapping):
        # the keys of JSON are strings
        content = {int(key) if str(key).isdigit() else key: weight for key, weight in content.items()}
    elif not isinstance(content, list):
        raise ValueError(f'class_weight: got {content!r} in {path}; expected a list or a dict')
    _check_kind(content)
    return content


def _weights_by_scheme(scheme: str, counted: CountedClasses, beta: float | None) -> Tensor:
    counts = torch.as_tensor(counted.counts)
    if scheme == 'inverse_frequency':
        return inverse_frequency_weights(counts)
    if scheme == 'median_frequency':
        totals = counted.image_totals
        return median_frequency_weights(counts, None if totals is None else torch.as_tensor(totals))
    return enet_weights(counts) if scheme == 'enet' else effective_number_weights(counts, beta)


def _class_index(key: int | str, num_classes: int, classes: Sequence[str] | None) -> int:
    if isinstance(key, str):
        if classes is None:
            raise ValueError(
                f'got class_weight[{key!r}] without class names; set classes, in a region loss class_names, to the '
                'class names in order'
            )
        if key not in classes:
            raise ValueError(f'got class_weight[{key!r}]; expected one of the classes {list(classes)}')
        return list(classes).index(key)
    if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < num_classes:
        raise ValueError(f'got class_weight[{key!r}]; expected classes from 0 to {num_classes - 1}')
    return key
