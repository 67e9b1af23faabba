"""The limits of a queue, as plain values that are stored."""

import math

import msgspec

from durable_graph.errors import InvalidOptionError

LARGEST_LIMIT = 1_000_000
"""The largest number of runs in a limit."""

_LONGEST_WINDOW = 366 * 86_400


class Rate(msgspec.Struct, frozen=True):
    """Workers make at most `number` claims of runs within any `per` seconds: `Rate(300, per=60)`.

    Raises `InvalidOptionError` for a `number` that is not a whole number from 1 to 1,000,000, and for a `per` below
    0.001 seconds or above 366 days.
    """

    number: int
    per: float = 1.0

    def __post_init__(self) -> None:
        check_limit_of_runs("number", self.number)
        is_number = isinstance(self.per, int | float) and not isinstance(self.per, bool)
        if not is_number or not math.isfinite(self.per) or not 0.001 <= self.per <= _LONGEST_WINDOW:
            raise InvalidOptionError("per", self.per, allowed="seconds, from 0.001 to 31622400")

    @property
    def window(self) -> int:
        """`per` in microseconds."""
        return round(self.per * 1_000_000)


class QueueLimits(msgspec.Struct, frozen=True):
    """The limits of a queue over all processes, None where there is no limit.

    At most `concurrency` runs of the queue, and at most `per_key` runs with the same `limit_key`, are executed at the
    same time. `rate` limits the number of claims within a time.
    """

    queue: str
    concurrency: int | None = None
    per_key: int | None = None
    rate: Rate | None = None


def check_limit_of_runs(option: str, value: object) -> None:
    """Raise `InvalidOptionError` unless the value is a number of runs."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= LARGEST_LIMIT:  # type: ignore[operator]  # mypy does not narrow by a name
        raise InvalidOptionError(option, value, allowed=f"a whole number from 1 to {LARGEST_LIMIT:,}")
