"""Errors about many files, collected into one."""

from collections.abc import Sequence

_SHOWN = 20


class FailedFiles(ValueError):
    """Error about several files; its message shows the first 20.

    Args:
        summary: the consequence, for example "no list is written".
        failures: one error per file, with the file's name in its message.
    """

    def __init__(self, summary: str, failures: Sequence[Exception]) -> None:
        super().__init__(summary, failures)
        self.summary = summary
        self.failures = list(failures)

    def __str__(self) -> str:
        left_out = len(self.failures) - _SHOWN
        return self.message(_SHOWN) + (f'\n(and {left_out} more)' if left_out > 0 else '')

    def message(self, limit: int | None = None) -> str:
        """Return the summary and the failures, one per line; the first ``limit`` of them, or all."""
        return '\n'.join([f'{self.summary}, {len(self.failures)} failures:', *map(str, self.failures[:limit])])


def raise_failures(summary: str, failures: Sequence[Exception]) -> None:
    """Raise a single failure as it is, several as `FailedFiles`; return if there are none.

    Example:
        >>> raise_failures('no list is written', [ValueError('a.png is empty'), ValueError('b.png is empty')])
        Traceback (most recent call last):
        mmrecall.datasets.failures.FailedFiles: no list is written, 2 failures:
        a.png is empty
        b.png is empty
    """
    if len(failures) > 1:
        raise FailedFiles(summary, failures)
    for failure in failures:
        raise failure


def whole_message(error: Exception) -> str:
    """Return the message of an error with all of its failures, for a command to print."""
    return error.message() if isinstance(error, FailedFiles) else str(error)
