"""All that is wrong with many files, in one error."""

from collections.abc import Sequence

_SHOWN = 20


class FailedFiles(ValueError):
    """Several files that cannot be used; the message has the first 20.

    Args:
        what: that was wanted, which there is not.
        failures: an error for each file, which names it.
    """

    def __init__(self, what: str, failures: Sequence[Exception]) -> None:
        super().__init__(what, failures)
        self.what = what
        self.failures = list(failures)

    def __str__(self) -> str:
        left_out = len(self.failures) - _SHOWN
        more = f'\n(and {left_out} more)' if left_out > 0 else ''
        return _listed(self.what, self.failures[:_SHOWN], len(self.failures)) + more


def raise_failures(what: str, failures: Sequence[Exception]) -> None:
    """Raise the one error there is, or `FailedFiles` for several; return if there is none.

    Example:
        >>> raise_failures('no list is written', [ValueError('a.png is empty'), ValueError('b.png is empty')])
        Traceback (most recent call last):
        mmrecall.datasets.failures.FailedFiles: no list is written, 2 failures:
        a.png is empty
        b.png is empty
    """
    if len(failures) > 1:
        raise FailedFiles(what, failures)
    for failure in failures:
        raise failure


def whole_message(error: Exception) -> str:
    """What a command prints of an error: every failed file, and the reason."""
    if isinstance(error, FailedFiles):
        return _listed(error.what, error.failures, len(error.failures))
    return str(error)


def _listed(what: str, failures: Sequence[Exception], number: int) -> str:
    return '\n'.join([f'{what}, {number} failures:', *map(str, failures)])
