"""Complete files, and checkpoints and configs whose contents are read without running them."""

from .arrays import array_part
from .checkpoints import (
    KnownFunction,
    Placeholder,
    SafeUnpickler,
    check_intact,
    is_script,
    load_weights,
    pickle_with,
    read_checkpoint,
)
from .files import PARTIAL, atomic_write
from .literals import read_literals

__all__ = [
    'PARTIAL',
    'KnownFunction',
    'Placeholder',
    'SafeUnpickler',
    'array_part',
    'atomic_write',
    'check_intact',
    'is_script',
    'load_weights',
    'pickle_with',
    'read_checkpoint',
    'read_literals',
]
