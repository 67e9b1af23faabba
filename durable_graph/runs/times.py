"""Times as callers give and read them: seconds or a `timedelta` in, aware datetimes out."""

import math
from datetime import UTC, datetime, timedelta

from durable_graph.errors import InvalidOptionError
from durable_graph.run_records import NEVER

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


def moment(at: int) -> datetime | None:
    """The time of a row, None for a time that never comes or is not set."""
    return None if at in (0, NEVER) else datetime.fromtimestamp(at / 1_000_000, UTC)
