"""Fuzzing for a number of minutes: hypothesis tests that run repeatedly, with another seed each time."""

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import count

from hypothesis import HealthCheck, Phase, seed, settings

_SETTINGS = settings(
    max_examples=200,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
# seconds between two reports of the progress
_PROGRESS = 30


def run(test_function: Callable[[], None], minutes: float) -> bool:
    """Run a hypothesis test without settings repeatedly until the time is over or it fails.

    Returns:
        Whether the test passed; a failure is printed with its example.
    """
    examples = _count_examples(_SETTINGS(test_function))
    name, start = test_function.__name__, time.monotonic()
    reported = start
    for number in count(random.SystemRandom().randrange(2**32)):
        try:
            seed(number)(test_function)()
        except Exception as error:
            traceback.print_exception(error)
            if sys.version_info < (3, 11):  # these versions do not print the notes of an error
                print(*getattr(error, '__notes__', ()), sep='\n')
            print(f'{name}: failed with seed {number} after {examples[0]} examples', flush=True)
            return False
        now = time.monotonic()
        over = now - start >= 60 * minutes
        if over or now - reported >= _PROGRESS:
            reported = now
            print(f'{name}: {examples[0]} examples in {now - start:.0f} s', flush=True)
        if over:
            return True


def main(campaigns: Sequence[Callable[[], None]]) -> None:
    """Run the tests one after the other; the exit status is 1 if any failed."""
    parser = argparse.ArgumentParser(description=sys.modules['__main__'].__doc__)
    parser.add_argument('--minutes', type=float, default=10, help='time for all tests together')
    minutes = parser.parse_args().minutes / len(campaigns)
    results = [run(campaign, minutes) for campaign in campaigns]
    sys.exit(0 if all(results) else 1)


def _count_examples(test_function: Callable[[], None]) -> list[int]:
    """Return a list whose only element is the number of examples, increased during the test."""
    handle, examples = test_function.hypothesis, [0]
    inner = handle.inner_test

    @wraps(inner)
    def counted(*arguments, **options):
        examples[0] += 1
        return inner(*arguments, **options)

    handle.inner_test = counted
    return examples
