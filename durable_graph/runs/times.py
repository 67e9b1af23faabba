"""Times of rows, as callers read them: aware datetimes."""

from datetime import UTC, datetime, timedelta

from durable_graph.run_records import NEVER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(at: int) -> datetime | None:
    """The time of a row, None for a time that never comes or is not set."""
    # Exact: as a float, the last microsecond of the year 9999 is after all datetimes.
    return None if at in (0, NEVER) else _EPOCH + timedelta(microseconds=at)
