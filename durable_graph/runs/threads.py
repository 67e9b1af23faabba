"""`app.threads`: the threads of a store by id, status and metadata, whether runs have touched them or not."""

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from uuid import uuid4

import msgspec

from durable_graph._runtime.commit.busy import is_held_by_run, only_run
from durable_graph._runtime.entry.options import ThreadId, read_thread_place
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.directory import (
    DirectoryStatus,
    KeepsDirectory,
    NewThread,
    SortKey,
    ThreadDirectory,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.checkpointing.directory_rules import encoded_metadata, entries_in
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import (
    InvalidOptionError,
    MissingPowerError,
    ThreadBusyError,
    ThreadExistsError,
    UnknownThreadError,
)
from durable_graph.records import is_text


class ThreadSummary(msgspec.Struct, frozen=True):
    """A thread as the store has it. Times are aware datetimes in UTC; `updated_at` is that of the last commit or of the
    last change of the metadata.

    `status`: "busy" (a worker executes, or will execute, a run of it, also one that waits for a time or a message; or a
    call executes it), "interrupted" (it waits for an answer, or at a breakpoint), "error" (its last run failed or was
    quarantined, a call failed, or its row is damaged: `error` has the reason), or "idle". `metadata` is the thread's
    own, which no run changes. `graph` is the name of its graph (None: no run has touched it, or its graph has no name),
    `next` has the nodes that run next. Of a thread with a damaged row only the id, the metadata and the error are
    reliable, and its times are those of 1970.
    """

    thread_id: str
    status: DirectoryStatus
    metadata: dict[str, Any]
    graph: str | None
    created_at: datetime
    updated_at: datetime
    next: tuple[str, ...]
    error: str | None


class AppThreads:
    """The threads of an app's store: `app.threads`. Every method may be called in any process that has the store."""

    __slots__ = ("_directory", "_runs", "_saver")

    def __init__(self, saver: Checkpointer, runs: RunStore) -> None:
        if not isinstance(saver, KeepsDirectory):
            raise MissingPowerError(type(saver).__name__, "directory")
        self._saver: Checkpointer = saver
        self._runs: RunStore = runs
        self._directory: ThreadDirectory = saver.directory

    async def create(
        self,
        thread_id: ThreadId | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        if_exists: Literal["raise", "return"] = "raise",
    ) -> ThreadSummary:
        """Create a thread without a checkpoint; without a `thread_id` it has a random one. Any graph may run on it.

        `metadata` is a dict of JSON values, at most 64 KB of JSON. `if_exists="return"` returns a thread that has the
        id, unchanged.

        Raises `ThreadExistsError`, and `InvalidOptionError` for an id or metadata that cannot be stored.
        """
        if if_exists not in ("raise", "return"):
            raise InvalidOptionError("if_exists", if_exists, allowed="'raise' or 'return'")
        thread, incarnation = str(uuid4()) if thread_id is None else _id(thread_id), drawn_incarnation()
        new = NewThread(
            thread=thread,
            metadata=encoded_metadata({} if metadata is None else metadata),
            incarnation=incarnation,
            origin=origin_of(thread, incarnation),
            epoch=drawn_incarnation(),
        )
        created = await self._directory.create(new)
        if not created.is_new and if_exists == "raise":
            raise ThreadExistsError(thread)
        return _summary(created.entry)

    async def get(self, thread_id: ThreadId) -> ThreadSummary:
        """The thread, also one that only runs have touched. Raises `UnknownThreadError`."""
        thread = _id(thread_id)
        return _known(thread, await self._directory.find(thread))

    async def update(self, thread_id: ThreadId, metadata: Mapping[str, Any]) -> ThreadSummary:
        """Replace the values of these keys of the thread's metadata, and keep all other keys, also while it runs.

        Raises `UnknownThreadError`, and `InvalidOptionError` for metadata that cannot be stored, or would be larger
        than 64 KB with the keys that are kept.
        """
        thread = _id(thread_id)
        return _known(thread, await self._directory.update(thread, encoded_metadata(metadata)))

    async def delete(self, thread_id: ThreadId) -> None:
        """Delete the thread with its runs and its metadata.

        Raises `UnknownThreadError`, and `ThreadBusyError` for a thread with an unfinished run, or one that a call of
        this process executes.
        """
        thread = _id(thread_id)
        # The store decides about runs. A worker may hold the thread for a moment after the end of its run.
        is_of_run = is_held_by_run(self._saver, thread)
        async with nullcontext() if is_of_run else only_run(self._saver, thread, None):
            deleted = await self._directory.delete(thread)
        if deleted.busy_seq:
            row = await self._runs.find_run(thread, deleted.busy_seq)
            worker = None if row is None else row.worker_name
            raise ThreadBusyError.of_run(thread, run_id(key_of(thread), deleted.busy_seq), worker or None)
        if not deleted.is_deleted:
            raise UnknownThreadError(thread)

    async def copy(self, thread_id: ThreadId, target: ThreadId | None = None) -> ThreadSummary:
        """Copy the thread with its checkpoints and its metadata, and without its runs, to the id `target` (None: a
        random one). Returns the copy.

        A repetition returns the same copy, if neither thread has run since. Raises `UnknownThreadError` and
        `ThreadExistsError`.
        """
        source, copy = _id(thread_id), str(uuid4()) if target is None else _id(target)
        await self._saver.copy_thread(source, copy)
        return _known(copy, await self._directory.find(copy))

    async def search(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        status: DirectoryStatus | None = None,
        ids: Collection[ThreadId] | None = None,
        prefix: str = "",
        graph: str | None = None,
        sort_by: SortKey = "updated_at",
        descending: bool = True,
        limit: int = 10,
        offset: int = 0,
    ) -> list[ThreadSummary]:
        """The threads that fulfil all conditions, as of one moment.

        `metadata`: all these keys have these values. A list or a dict is compared as a whole, and 1 is equal to 1.0.
        `prefix` is the beginning of the ids. Threads with equal values of `sort_by` are in the order of their ids, or
        in the reverse of it if `descending`. An index finds threads by metadata, ids or a prefix; the other conditions,
        and the sorting, read all threads that these leave. A status is compared as it is stored: a thread with a damaged
        row has the status "error" in the result of any search that finds it.

        Raises `InvalidOptionError` for a value that a condition cannot have.
        """
        query = _query(metadata, status, ids, prefix, graph)
        _check_choice("sort_by", sort_by, get_args(SortKey))
        if not isinstance(descending, bool):
            raise InvalidOptionError("descending", descending, allowed="True or False")
        found = await self._directory.search(query, sort_by=sort_by, descending=descending, limit=limit, offset=offset)
        return [_summary(entry) for entry in found]

    async def count(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        status: DirectoryStatus | None = None,
        ids: Collection[ThreadId] | None = None,
        prefix: str = "",
        graph: str | None = None,
    ) -> int:
        """The number of the threads that fulfil all conditions, which are those of `search`."""
        return await self._directory.count(_query(metadata, status, ids, prefix, graph))


def _query(
    metadata: Mapping[str, Any] | None,
    status: DirectoryStatus | None,
    ids: Collection[ThreadId] | None,
    prefix: str,
    graph: str | None,
) -> ThreadQuery:
    if status is not None:
        _check_choice("status", status, get_args(DirectoryStatus))
    if ids is not None and (isinstance(ids, str | bytes) or not isinstance(ids, Collection)):
        raise InvalidOptionError("ids", ids, allowed="a list of thread ids")
    for option, text in (("prefix", prefix), ("graph", graph)):
        if text is not None and not (isinstance(text, str) and is_text(text) and "\0" not in text):
            raise InvalidOptionError(option, text, allowed="a text without NUL and without lone surrogates")
    return ThreadQuery(
        entries=() if metadata is None else entries_in(encoded_metadata(metadata)),
        status=status,
        ids=None if ids is None else tuple(map(_id, ids)),
        prefix=prefix,
        graph=graph,
    )


def _check_choice(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise InvalidOptionError(option, value, allowed=", ".join(map(repr, allowed)))


def _id(thread_id: ThreadId) -> str:
    return read_thread_place(None, thread_id, None).thread_id


def _known(thread: str, entry: ThreadEntry | None) -> ThreadSummary:
    if entry is None:
        raise UnknownThreadError(thread)
    return _summary(entry)


def _summary(entry: ThreadEntry) -> ThreadSummary:
    return ThreadSummary(
        thread_id=entry.thread,
        status=entry.status,
        metadata=entry.metadata,
        graph=entry.graph,
        created_at=_time(entry.created_at),
        updated_at=_time(entry.updated_at),
        next=entry.next,
        error=entry.error,
    )


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)
