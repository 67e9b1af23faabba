"""Moves: what other processes and clocks do at a chosen call of the store, while a run is executed under a worker.

for point in move_points(counting.calls):
    saver = CrashingSaver(inner, point, move=lambda: expire_leases(inner))
    ...                                              # execute the run with a worker of `App(..., saver)`

A move is any function without arguments that returns an awaitable. A message or an answer that arrives at the call is a
call of an app on `inner`: `move=lambda: app.signal("order-7", "parcel", {...})`.
"""

from collections.abc import Iterator
from datetime import timedelta

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.errors import InvalidOptionError, MissingPowerError
from durable_graph.testing.crash import CrashPoint

_LONGER_THAN_ANY_LEASE = 2 * 86_400 * 1_000_000


def move_points(calls: int) -> Iterator[CrashPoint]:
    """The moments of all `calls` calls at which a move may be made."""
    for call in range(1, calls + 1):
        yield CrashPoint(call, "before")
        yield CrashPoint(call, "after")


async def expire_leases(saver: Checkpointer, *, max_crashes: int = 5) -> int:
    """End the leases of all workers of the store now. Returns the number of their runs, which other workers may claim.

    The effect is that of workers without heartbeats for longer than their leases, and of a sweep by another worker.
    Each worker finds out at its next heartbeat, and registers again. Clocks are not changed.

    Raises `MissingPowerError` for a saver that keeps no runs.
    """
    async with _runs_of(saver).beside() as runs:
        runs.lease_skew += _LONGER_THAN_ANY_LEASE
        swept = await runs.sweep(max_crashes)
    return swept.ready + swept.quarantined


async def move_clock(saver: Checkpointer, by: timedelta) -> None:
    """Move the clock by which this saver's runs are due, forward or back. The clock of leases is not changed.

    Raises `MissingPowerError` for a saver that keeps no runs, and `InvalidOptionError`.
    """
    if not isinstance(by, timedelta):
        raise InvalidOptionError("by", by, allowed="a timedelta")
    _runs_of(saver).skew += by // timedelta(microseconds=1)


def _runs_of(saver: Checkpointer) -> RunStore:
    if not isinstance(saver, KeepsRuns):
        raise MissingPowerError(type(saver).__name__, "runs")
    return saver.runs
