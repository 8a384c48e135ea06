"""Class weights as a config gives them: a list, or a dict by class index or name."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

ClassWeight = Sequence[float] | Mapping[int | str, float]


def class_weight_tensor(class_weight: ClassWeight, num_classes: int, classes: Sequence[str] | None = None) -> Tensor:
    """(C,) float64 weights; classes that a dict leaves out weigh 1.

    Raises:
        ValueError: a list of another length, a class that does not exist, a weight that is negative or not finite.

    Example:
        >>> class_weight_tensor({'pole': 3.0, 0: 0.5}, 3, classes=('road', 'car', 'pole'))
        tensor([0.5000, 1.0000, 3.0000], dtype=torch.float64)
    """
    if isinstance(class_weight, Mapping):
        weights = torch.ones(num_classes, dtype=torch.float64)
        for key, weight in class_weight.items():
            weights[_class_index(key, num_classes, classes)] = weight
    else:
        weights = torch.as_tensor(class_weight, dtype=torch.float64)
        if weights.shape != (num_classes,):
            raise ValueError(f'class_weight has {weights.numel()} entries for {num_classes} classes: {class_weight}')
    if not bool(((weights >= 0) & weights.isfinite()).all()):
        raise ValueError(f'class_weight must be finite and at least 0, got {class_weight}')
    return weights


def _class_index(key: int | str, num_classes: int, classes: Sequence[str] | None) -> int:
    if isinstance(key, str):
        if classes is None:
            raise ValueError(f'class_weight names the class {key!r}; pass the class names in order as `classes`')
        if key not in classes:
            raise ValueError(f'class_weight names the class {key!r}, which is none of {list(classes)}')
        return list(classes).index(key)
    if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < num_classes:
        raise ValueError(f'class_weight has a weight for class {key!r}, but classes are 0 to {num_classes - 1}')
    return key
