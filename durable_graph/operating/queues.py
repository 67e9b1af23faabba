"""The queues of a store as lines of a table."""

from collections.abc import Sequence
from datetime import UTC, datetime

from durable_graph.operating.printing import age, table
from durable_graph.run_records import QueueStats

_HEAD = ("QUEUE", "READY", "RUNNING", "WAITING", "BLOCKED", "OLDEST", "CONCURRENCY", "PER KEY", "RATE", "WORKERS")


def listed_queues(found: Sequence[QueueStats], now: datetime) -> list[str]:
    """A line for each queue: its numbers of runs, the time for which the oldest due run waits, its limits, and the
    number of living workers that serve it."""
    return table(_HEAD, [_row(each, now) for each in found])


def _row(stats: QueueStats, now: datetime) -> tuple[object, ...]:
    limits = stats.limits
    oldest = datetime.fromtimestamp(stats.oldest_due / 1_000_000, UTC) if stats.oldest_due else None
    rate = limits.rate if limits is not None else None
    return (
        *(stats.queue, stats.ready, stats.running, stats.waiting, stats.blocked, age(oldest, now)),
        *(("", "") if limits is None else (limits.concurrency, limits.per_key)),
        "" if rate is None else f"{rate.number} in {rate.per:g}s",
        stats.workers or "not served",
    )
