"""Retention: what has been over for long enough is removed."""

import time
from collections.abc import Iterable
from datetime import timedelta

import msgspec

from durable_graph.checkpointing.protocol import Checkpointer
from durable_graph.errors import InvalidOptionError
from durable_graph.records import LISTED_STATUSES, ListedStatus, ThreadInfo

_PAGE = 500


class Swept(msgspec.Struct, frozen=True):
    """What a sweep removed: whole threads, and checkpoints of threads that stay."""

    threads: int
    checkpoints: int


async def sweep_threads(
    checkpointer: Checkpointer,
    *,
    older_than: timedelta,
    status: ListedStatus | Iterable[ListedStatus] = "done",
    keep_last: int = 0,
) -> Swept:
    """Delete the threads that have been in one of these statuses for longer than `older_than`.

    With `keep_last` they stay, and are pruned to so many checkpoints. Call it now and then, from one process or from
    several: each thread is a transaction of its own, one that goes on meanwhile is left alone, and a sweep that is
    cut off is made up for by the next. The time is the clock's of this process.

    Raises `InvalidOptionError`, before anything is removed.
    """
    statuses: tuple[ListedStatus, ...] = (status,) if isinstance(status, str) else tuple(status)
    for each in statuses:
        if each not in LISTED_STATUSES or each == "damaged":
            allowed = ", ".join(repr(known) for known in LISTED_STATUSES if known != "damaged")
            raise InvalidOptionError("status", each, allowed=allowed)
    if older_than < timedelta(0):
        raise InvalidOptionError("older_than", older_than, allowed="a timedelta from 0 on")
    if keep_last < 0:
        raise InvalidOptionError("keep_last", keep_last, allowed="a number from 0 on")
    before = time.time_ns() // 1000 - older_than // timedelta(microseconds=1)
    threads = checkpoints = 0
    for each in statuses:
        after: ThreadInfo | None = None
        while page := await checkpointer.list_threads(status=each, before=before, after=after, limit=_PAGE):
            for info in page:
                if keep_last:
                    checkpoints += await checkpointer.prune(info.thread, keep_last=keep_last)
                else:
                    threads += await checkpointer.delete_thread(info.thread, seen=info)
            after = page[-1]
    return Swept(threads, checkpoints)
