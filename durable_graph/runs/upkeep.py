"""The upkeep of a store by workers: they delete old runs and threads, and repair lost wake-ups."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.retention import PROTECTION, delete_expired_threads
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import DurableGraphError, InvalidOptionError
from durable_graph.records import LISTED_STATUSES, ListedStatus
from durable_graph.runs.arguments import check_number
from durable_graph.runs.operations import cancel_orphans

KEEP_RESULTS = timedelta(days=7)
"""How long a run is kept after its end."""

KeepThreads = timedelta | Mapping[ListedStatus, timedelta]

_LONGEST = timedelta(days=100 * 365)
_FIRST_PAUSE, _PAUSE = 5.0, 60.0
"""In seconds, on average: from the start of a worker to its first upkeep, and between two upkeeps after that."""
_BATCH = 50
"""The most runs that one transaction changes."""
_BREATH = 0.02
"""Seconds between two transactions."""

_logger = logging.getLogger("durable_graph")


class Retention(msgspec.Struct, frozen=True):
    """How long runs are kept after their end (None: as long as their thread), and threads of each status since they
    have it. Threads of other statuses are not deleted. `checkpoints` is the number of checkpoints that stay of a
    thread whose run a worker executes (None: all)."""

    results: timedelta | None = KEEP_RESULTS
    threads: Mapping[ListedStatus, timedelta] = {}
    checkpoints: int | None = None


def read_retention(
    keep_results: timedelta | None, keep_threads: KeepThreads | None, keep_checkpoints: int | None = None
) -> Retention:
    """The retention of an `App`. A time alone is for threads that are done. Raises `InvalidOptionError`."""
    if keep_results is not None:
        _check("keep_results", keep_results)
    given = {} if keep_threads is None else keep_threads
    if not isinstance(given, Mapping):
        _check("keep_threads", given)
        given = {"done": given}
    for status, span in given.items():
        if status not in LISTED_STATUSES:
            allowed = f"a timedelta, or a dict of timedeltas by status: {', '.join(map(repr, LISTED_STATUSES))}"
            raise InvalidOptionError("keep_threads", status, allowed=allowed)
        _check(f"keep_threads[{status!r}]", span)
    if keep_checkpoints is not None:
        check_number("keep_checkpoints", keep_checkpoints, 1, 1_000_000, whole=True)
    return Retention(keep_results, dict(given), keep_checkpoints)


def days(option: str, given: float) -> timedelta:
    """The time of a number of days. Raises `InvalidOptionError` for a number that is out of range."""
    try:
        return timedelta(days=given)
    except (OverflowError, ValueError):
        raise InvalidOptionError(option, given, allowed="a number of days of at least 0") from None


def _check(option: str, span: object) -> None:
    if not isinstance(span, timedelta) or span < timedelta(0):
        raise InvalidOptionError(option, span, allowed="a timedelta of at least 0")


class Cleaned(msgspec.Struct, frozen=True):
    """The result of an upkeep: the numbers of runs that it made ready, of runs and threads that it deleted, and of
    rows of earlier deletions that it removed."""

    repaired: int
    runs: int
    threads: int
    deletions: int


class Upkeep(msgspec.Struct, frozen=True):
    """The upkeep of a store by a worker. Several workers may do it at the same time."""

    saver: Checkpointer
    runs: RunStore
    retention: Retention

    async def repeat(self, is_ready: Callable[[], None]) -> None:
        """Do the upkeep about once a minute, until cancelled. `is_ready` is called after runs were made ready."""
        pause = _FIRST_PAUSE
        while True:
            # A random pause: workers that start together do not do their upkeep together.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # spreads the load
            pause = _PAUSE
            try:
                if (await self.once()).repaired:
                    is_ready()
            except DurableGraphError as error:
                _logger.warning("the upkeep of the store failed, and is repeated later: %s", error)

    async def once(self) -> Cleaned:
        """Do the upkeep once."""
        repaired = await _in_batches(lambda: self.runs.repair(limit=_BATCH))
        # After a crash between the end of a parent and those of its children. Running ones are asked by heartbeats.
        await cancel_orphans(self.runs, _BATCH)
        runs, keep = 0, self.retention.results
        if keep is not None:
            # A longer time is no number of a database.
            span = min(keep, _LONGEST) // timedelta(microseconds=1)
            runs = await _in_batches(lambda: self.runs.delete_ended(keep=span, limit=_BATCH))
        expired = [
            await delete_expired_threads(self.saver, older_than=older_than, status=status)
            for status, older_than in self.retention.threads.items()
        ]
        # Without a status no thread expires: this call removes only the rows that earlier deletions left.
        expired.append(await delete_expired_threads(self.saver, older_than=PROTECTION, status=(), protect=PROTECTION))
        threads, deletions = sum(each.threads for each in expired), sum(each.deletions for each in expired)
        return Cleaned(repaired, runs, threads, deletions)


async def _in_batches(change: Callable[[], Awaitable[int]]) -> int:
    """Repeat the transaction until it finds less than a batch, with pauses for the transactions of others."""
    total = 0
    while True:
        changed = await change()
        total += changed
        if changed < _BATCH:
            return total
        await asyncio.sleep(_BREATH)
