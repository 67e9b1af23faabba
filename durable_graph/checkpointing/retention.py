"""Retention: threads are removed, or pruned, some time after their last change of status."""

import time
from collections.abc import Iterable
from datetime import timedelta

import msgspec

from durable_graph.checkpointing.protocol import Checkpointer
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import CorruptCheckpointError, InvalidOptionError, UnknownThreadError
from durable_graph.records import LISTED_STATUSES, ListedStatus, ThreadInfo

_PAGE = 500


class DeletedThreads(msgspec.Struct, frozen=True):
    """The numbers of removed threads, of removed checkpoints in pruned threads, and of removed tombstones
    (`deletions`).

    `damaged` are threads that could not be pruned, because some of their rows are damaged; they are unchanged.
    """

    threads: int
    checkpoints: int
    deletions: int = 0
    damaged: tuple[str, ...] = ()


PROTECTION = timedelta(days=1)
"""How long a tombstone refuses the writers of a deleted thread."""


async def delete_expired_threads(
    checkpointer: Checkpointer,
    *,
    older_than: timedelta,
    status: ListedStatus | Iterable[ListedStatus] = "done",
    keep_last: int = 0,
    protect: timedelta = PROTECTION,
) -> DeletedThreads:
    """Delete the threads that have been in one of these statuses for longer than `older_than`.

    A thread with an unfinished run stays. With `keep_last` they all stay, and are pruned to that number of checkpoints.
    Each deletion leaves a row without the thread's id, which stops late writers of the thread; rows older than
    `protect` are removed as well.

    Call it regularly, from one process or several: each thread is a separate transaction, a thread that continues
    meanwhile is left alone, and the next call completes an interrupted one. A damaged thread does not stop the call:
    it is skipped, and `status="damaged"` deletes it. Times are those of this process's clock. If two
    calls run at the same time, both may count one deletion: a deletion that is repeated succeeds.

    Raises `InvalidOptionError`, before anything is removed.
    """
    statuses: tuple[ListedStatus, ...] = (status,) if isinstance(status, str) else tuple(status)
    for each in statuses:
        if each not in LISTED_STATUSES:
            raise InvalidOptionError("status", each, allowed=", ".join(map(repr, LISTED_STATUSES)))
        if each == "damaged" and keep_last:
            raise InvalidOptionError("keep_last", keep_last, allowed="0 for damaged threads, which cannot be pruned")
    for option, span in (("older_than", older_than), ("protect", protect)):
        if not isinstance(span, timedelta) or span < timedelta(0):
            raise InvalidOptionError(option, span, allowed="a timedelta of at least 0")
    if keep_last < 0:
        raise InvalidOptionError("keep_last", keep_last, allowed="a number of at least 0")
    now = time.time_ns() // 1000
    # Nothing is older than the clock.
    expiry = _Expiry(checkpointer, max(now - older_than // timedelta(microseconds=1), 0), keep_last)
    for each in statuses:
        await expiry.delete_of(each)
    before = max(now - protect // timedelta(microseconds=1), 0)
    deletions = 0
    while forgotten := await checkpointer.forget_deleted(before=before, limit=_PAGE):
        deletions += forgotten
    return DeletedThreads(expiry.threads, expiry.checkpoints, deletions, tuple(expiry.damaged))


class _Expiry:
    def __init__(self, checkpointer: Checkpointer, before: int, keep_last: int) -> None:
        self._checkpointer = checkpointer
        self._before = before
        self._keep_last = keep_last
        self.threads = self.checkpoints = 0
        self.damaged: list[str] = []

    async def delete_of(self, status: ListedStatus) -> None:
        after: ThreadInfo | None = None
        while page := await self._checkpointer.list_threads(
            status=status, before=self._before, after=after, limit=_PAGE
        ):
            for info in page:
                await self._delete(info)
            after = page[-1]

    async def _delete(self, info: ThreadInfo) -> None:
        if not self._keep_last:
            if not await self._has_unfinished_run(info.thread):
                self.threads += await self._checkpointer.delete_thread(info.thread, seen=info)
            return
        if self._keep_last == 1 and info.floor == info.head:
            # Only the last checkpoint is left: no transaction is needed.
            return
        try:
            self.checkpoints += await self._checkpointer.prune(info.thread, keep_last=self._keep_last)
        except CorruptCheckpointError:
            self.damaged.append(info.thread)
        except UnknownThreadError:
            # The thread was deleted, and its tombstone removed, since it was listed.
            return

    async def _has_unfinished_run(self, thread: str) -> bool:
        # The thread's status is that of its last execution; another run may be blocked, or not be due yet.
        saver = self._checkpointer
        return isinstance(saver, KeepsRuns) and await saver.runs.find_unfinished(thread) is not None
