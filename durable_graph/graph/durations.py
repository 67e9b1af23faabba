"""Durations as callers give them: seconds, or a `timedelta`."""

import math
from datetime import timedelta

from durable_graph.errors import InvalidOptionError

Duration = float | timedelta
"""A number of seconds, or a `timedelta`."""

_LONGEST = 100 * 365 * 86400


def microseconds(option: str, given: Duration | None, *, least: float = 0) -> int:
    """The duration in microseconds, 0 for None. Raises `InvalidOptionError` for one that makes no sense."""
    if given is None:
        return 0
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not math.isfinite(seconds) or not least <= seconds <= _LONGEST:
        allowed = f"seconds or a timedelta, from {least:g} seconds to a hundred years"
        raise InvalidOptionError(option, given, allowed=allowed)
    return round(seconds * 1_000_000)
