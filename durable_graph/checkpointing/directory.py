"""The protocol of the directory of threads: a power of a saver, which `isinstance(saver, KeepsDirectory)` finds.

A thread of the directory is a row of a thread, with or without checkpoints. A created thread has the status "done" and
no checkpoint until something runs on it. Its metadata is a JSON object in a row of its own, which no commit reads or
writes: it is created, copied, exported and deleted with the thread, in the same transaction.
"""

from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

DirectoryStatus = Literal["idle", "busy", "interrupted", "error"]
"""Who has to act on a thread. `busy`: it has an unfinished run that a worker executes, will execute, or that waits for
a time or a message; or a call executes it. `interrupted`: it waits for an answer, or at a breakpoint. `error`: its last
run failed or was quarantined, and nothing was committed since; or a call failed; or its row is damaged. `idle`: none of
these; a cancelled thread is idle."""

SortKey = Literal["thread_id", "created_at", "updated_at", "status"]

MOST_METADATA_BYTES = 64 * 1024
"""The limit for the metadata of a thread, encoded as JSON."""


class NewThread(msgspec.Struct, frozen=True, gc=False):
    """A thread to create. `metadata` is a JSON object. The other fields are for its row: see `ThreadRow`. The random
    `incarnation` tells a repeated call from another one."""

    thread: str
    metadata: str
    incarnation: int
    origin: bytes
    epoch: int


class ThreadEntry(msgspec.Struct, frozen=True, gc=False):
    """A thread in the directory. Times are in microseconds since 1970; `updated_at` is the time of the last commit or
    of the last change of the metadata, whichever is later.

    `metadata` is the JSON object, decoded. `graph` is the graph of its row, or of its first unfinished run. `next` has
    the nodes that run next. `error` is the reason of the status "error".
    """

    thread: str
    status: DirectoryStatus
    metadata: dict[str, Any]
    graph: str | None
    created_at: int
    updated_at: int
    next: tuple[str, ...]
    error: str | None


class CreatedThread(msgspec.Struct, frozen=True, gc=False):
    """The result of a creation. `is_new` is False if a thread had the id: then nothing was changed."""

    is_new: bool
    entry: ThreadEntry


class DeletedThread(msgspec.Struct, frozen=True, gc=False):
    """The result of a deletion. `busy_seq` is the number of the unfinished run because of which the thread stays (0:
    there is none). Without both, no thread has the id."""

    is_deleted: bool
    busy_seq: int = 0


class ThreadQuery(msgspec.Struct, frozen=True, gc=False):
    """The threads to find: those that fulfil all conditions. `entries` are digests of keys of the metadata with their
    values (see `directory_rules.entries_of`). `ids` None: any thread. `prefix` is the beginning of the ids."""

    entries: tuple[bytes, ...] = ()
    status: DirectoryStatus | None = None
    ids: tuple[str, ...] | None = None
    prefix: str = ""
    graph: str | None = None


@runtime_checkable
class ThreadDirectory(Protocol):
    """The threads of a saver, with and without checkpoints. Every method is idempotent."""

    async def create(self, new: NewThread) -> CreatedThread:
        """Create a thread without a checkpoint, unless a thread has its id."""
        ...

    async def find(self, thread: str) -> ThreadEntry | None:
        """The thread, also one that was never created here. None if no thread has this id."""
        ...

    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        """Replace the values of these keys of the metadata (a JSON object), and keep all others. None if no thread has
        this id.

        A run of the thread neither waits for it nor is refused. Raises `InvalidOptionError`, and changes nothing, if
        the metadata would be larger than `MOST_METADATA_BYTES`.
        """
        ...

    async def delete(self, thread: str) -> DeletedThread:
        """Delete the thread, as `Checkpointer.delete_thread` does, unless it has an unfinished run."""
        ...

    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        """A page of the threads, as of one moment. Threads with equal keys are in the order of their ids, or in the
        reverse of it if `descending`.

        A status is compared as it is stored. A thread whose row turns out to be damaged has the status "error" in the
        result, whatever the query.
        """
        ...

    async def count(self, query: ThreadQuery) -> int:
        """The number of the threads, as of one moment."""
        ...


@runtime_checkable
class KeepsDirectory(Protocol):
    """A saver with the power to keep a directory of its threads: `isinstance(saver, KeepsDirectory)`."""

    @property
    def directory(self) -> ThreadDirectory:
        """The directory of the saver's threads."""
        ...
