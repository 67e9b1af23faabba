"""The checkpointer's protocol: few domain verbs, rows and bytes, no user types."""

from collections.abc import Awaitable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from durable_graph.records import (
    CommitResult,
    CommitUnit,
    HistoryPage,
    ListedStatus,
    SaveResult,
    StoredCheckpoint,
    StoredRecords,
    StoredRequests,
    ThreadInfo,
    WritesBatch,
)

DEFAULT_MAX_VALUE_BYTES = 64 * 1024 * 1024


@runtime_checkable
class Checkpointer(Protocol):
    """Where threads are kept.

    Every method may be called again with the same arguments and then answers as it did. A call that was begun ends:
    cancelling the caller neither stops nor tears it. None holds a lock while the caller's code runs. Rows come back as
    they were given, digests included; who reads them checks them.

    All of them raise `CheckpointerClosedError`, `CheckpointerForkedError` or `CheckpointerLoopError` when used after
    `aclose`, in a forked child or while another event loop has the saver, and `StoreUnavailableError` when the store
    cannot be reached. An event loop that was closed gives the saver up to the next one. `async with` opens a closed
    saver again.
    """

    max_value_bytes: int
    """The largest encoded value that it takes, in bytes; the runtime refuses a larger one before it gets here."""

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        """The namespace's checkpoint `no`, by default the newest one in the branch of the thread's head.

        None if the thread never existed. At most two queries, and a bounded number of rows for each channel.
        Raises `CorruptCheckpointError` where rows exist that the thread's row does not account for.
        """
        ...

    def commit(self, unit: CommitUnit) -> Awaitable[CommitResult]:
        """Apply the unit whole, or not at all, and say which.

        An `async def` will do. A saver that has done the work when the method returns gives a `CommitHandle`.
        """
        ...

    def save_writes(self, batch: WritesBatch) -> Awaitable[SaveResult]:
        """Record what tasks came to. First recorded wins among equals: the answer names the records that stand.

        A batch that names its `wseq` is recorded only where nobody else recorded anything meanwhile: so a question is
        answered once. One that names `if_status` is recorded only while the thread has that status: so whoever records
        an answer knows whether a run is at work that will read it.
        """
        ...

    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        """Every task record of a namespace by `born` and `ord`. One query.

        The namespace need not have a checkpoint: a task's calls are recorded in one of their own. None if the thread
        never existed.
        """
        ...

    async def find_request(self, thread: str, key: str) -> StoredRequests | None:
        """The request that the thread took under a key, or the digests of all its requests. None without a thread.

        `verify_request` tells a request that was never made from one whose row vanished.
        """
        ...

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        """Up to `limit` checkpoints of a namespace with a number below `before`, newest first, of all lines.

        Raises `InvalidOptionError` for a limit below 1.
        """
        ...

    async def list_threads(
        self,
        *,
        status: ListedStatus | None = None,
        limit: int = 100,
        after: ThreadInfo | str | None = None,
        before: int | None = None,
    ) -> list[ThreadInfo]:
        """Threads by id, or those of one status in the order in which they took it. Deleted threads are in no listing.

        `after` is the last thread of the page before; without a status its id is enough. `before` is a time in
        microseconds since 1970: only threads that took their status earlier.

        A thread whose row is damaged is listed as such, and never under the status that its row claims:
        `status="damaged"` finds it, which reads the row of every thread.

        Raises `InvalidOptionError` for a limit below 1, a status that there is not, or an id after which a listing of
        one status is to begin.
        """
        ...

    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        """Remove everything of the thread, sound or damaged. Whether it is gone.

        A row without the thread's id stays, and shuts out writers that still believe in the thread, until
        `forget_deleted` removes it. With `purge` it goes at once: a writer that was stopped in the middle of the
        thread's first commit may then create the thread anew. With `seen`, only if the thread is still as a listing
        showed it.
        """
        ...

    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        """Remove the rows that deletions before a time (microseconds since 1970) left, at most `limit`. How many.

        Raises `InvalidOptionError` for a limit below 1.
        """
        ...

    async def copy_thread(self, source: str, target: str) -> None:
        """A second thread with the same checkpoints, values and task records.

        Raises `UnknownThreadError` for the source, `ThreadExistsError` for the target (unless this very copy made it).
        """
        ...

    async def prune(self, thread: str, *, keep_last: int = 1, before: int | None = None) -> int:
        """Remove all but the newest `keep_last` root checkpoints of the head's line, and what only the others needed:
        so, too, the namespaces of tasks that none of the kept ones has left to run.

        `before` is a time in microseconds since 1970: checkpoints of that line that were made later stay as well.
        The number of checkpoints removed. What stays can be read, resumed and forked as before.
        """
        ...

    async def aclose(self) -> None:
        """Finish what was begun and let go of the store. Calling it again does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
