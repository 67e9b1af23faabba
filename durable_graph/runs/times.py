"""Times of rows, as callers read them: aware datetimes."""

from datetime import UTC, datetime

from durable_graph.run_records import NEVER


def moment(at: int) -> datetime | None:
    """The time of a row, None for a time that never comes or is not set."""
    return None if at in (0, NEVER) else datetime.fromtimestamp(at / 1_000_000, UTC)
