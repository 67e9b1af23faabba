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
    """A store of threads.

    Every method is idempotent: a repeated call with the same arguments has the same answer. A call that has started
    runs to its end: cancelling the caller neither stops nor splits it. No method holds a lock while the caller's code
    runs. Rows are returned as they were stored, digests included; the reader checks them.

    All methods raise `CheckpointerMisuseError` when used after `aclose`, in a forked child or while another event loop
    owns the saver, and `StoreUnavailableError` when the store cannot be reached. If the owning loop is closed, the next
    loop becomes the owner. `async with` opens a closed saver again.
    """

    max_value_bytes: int
    """The limit for an encoded value, in bytes; the runtime refuses larger values before it calls the saver."""

    async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
        """The namespace's checkpoint `no`, by default the newest on the branch of the thread's head.

        None if the thread never existed. At most two queries, and a bounded number of rows for each channel.
        Raises `CorruptCheckpointError` for rows that the thread's row does not account for.

        The head of the root brings the thread's row for the caller's next unit (`base`), if the saver uses it.
        """
        ...

    def commit(self, unit: CommitUnit) -> Awaitable[CommitResult]:
        """Apply the unit whole, or not at all, and say which.

        An `async def` will do. A saver that has done the work when the method returns gives a `CommitHandle`. The
        unit's `base` may be outdated, and changes no result.
        """
        ...

    def save_writes(self, batch: WritesBatch) -> Awaitable[SaveResult]:
        """Record what tasks came to. First recorded wins among equals: the answer names the records that stand.

        A batch with a `wseq` is recorded only if no other writer has recorded anything since: so an interrupt is
        answered once. A batch with `if_status` is recorded only while the thread has that status: so a caller that
        records an answer knows whether an active run will read it.
        """
        ...

    async def load_records(self, thread: str, ns: str) -> StoredRecords | None:
        """Every task record of a namespace by `born` and `ord`. One query.

        The namespace need not have a checkpoint: a task's calls are recorded in a namespace without checkpoints. None
        if the thread never existed.
        """
        ...

    async def find_request(self, thread: str, key: str) -> StoredRequests | None:
        """The request that the thread accepted with this key, or the digests of all its requests. None without a
        thread.

        `verify_request` distinguishes a request that was never made from a request whose row is missing.
        """
        ...

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        """Up to `limit` checkpoints of a namespace with a number below `before`, newest first, of all branches.

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
        """All threads by id, or the threads of one status by the time of their last status change. Deleted threads are
        not listed.

        `after` is the last thread of the previous page; without a status its id is enough. `before` is a time in
        microseconds since 1970: only threads whose status is older are listed.

        A thread whose row is damaged has the status "damaged", and never the status in its row. `status="damaged"`
        reads the row of every thread.

        Raises `InvalidOptionError` for a limit below 1, an unknown status, or an id as `after` together with a status.
        """
        ...

    async def delete_thread(self, thread: str, *, seen: ThreadInfo | None = None, purge: bool = False) -> bool:
        """Delete all rows of the thread, even if they are damaged. True if the thread does not exist afterwards.

        A tombstone row without the thread's id stays, which refuses late writers of the thread, until `forget_deleted`
        removes it. With `purge` no tombstone stays: a writer that was stopped during the thread's first commit may then
        create the thread again. With `seen`, the thread is deleted only if it has not changed since that listing, and
        has no unfinished run.
        """
        ...

    async def forget_deleted(self, *, before: int, limit: int = 500) -> int:
        """Remove up to `limit` tombstones of deletions before a time (microseconds since 1970). Returns their number.

        Raises `InvalidOptionError` for a limit below 1.
        """
        ...

    async def copy_thread(self, source: str, target: str) -> None:
        """Create a second thread with the same checkpoints, values and task records.

        Raises `UnknownThreadError` for the source, `ThreadExistsError` for the target (unless it is this same copy).
        """
        ...

    async def prune(self, thread: str, *, keep_last: int = 1, before: int | None = None) -> int:
        """Remove all but the newest `keep_last` root checkpoints of the head's branch, and all rows that only the
        removed checkpoints need, including namespaces of tasks that no kept checkpoint has left to run.

        `before` is a time in microseconds since 1970: later checkpoints of that branch stay as well. So do the results
        of the thread's runs as long as the runs are kept, and the checkpoints since the one that an unfinished run
        begins from. Returns the number of removed checkpoints. Kept checkpoints can be read as before, and resumed and
        forked except for the results of runs that only their run keeps.
        """
        ...

    async def aclose(self) -> None:
        """Finish pending calls and close the store. Calling it again does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
