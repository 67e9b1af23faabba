"""The reads and writes of the directory of threads that all databases have in common, free of I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

from durable_graph.checkpointing import directory_rules, rules, transactions
from durable_graph.checkpointing.columns import THREAD_WIDTH, Columns, key_of, signed, thread_info_from
from durable_graph.checkpointing.directory import (
    CreatedThread,
    DeletedThread,
    NewThread,
    SortKey,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.checkpointing.directory_rules import RunMark, StoredMetadata
from durable_graph.checkpointing.queries import Query, Steps, check_no_orphan, first_of
from durable_graph.checkpointing.run_changes import run_from
from durable_graph.checkpointing.transactions import Batch, Part, Transaction, WriteResult, lock, put_thread
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import Sums


def create(new: NewThread, at: int) -> Transaction[CreatedThread]:
    """Create a thread at the time `at`. See `ThreadDirectory.create`."""
    locked = yield from lock(new.thread)
    if locked is None:
        yield from check_no_orphan(new.thread)
    elif locked.row.status != "deleted":
        entry = yield from _entry_of(new.thread)
        return WriteResult(CreatedThread(locked.row.incarnation == new.incarnation, entry))
    grave = None if locked is None else locked.row
    after = signed(rules.created_thread(new, grave, at), Sums(), 0)
    yield from put_thread(new.thread, grave, after)
    yield from _put_metadata(new.thread, new.metadata, at)
    return WriteResult(CreatedThread(is_new=True, entry=(yield from _entry_of(new.thread))), after)


def update(thread: str, metadata: str, at: int) -> Transaction[ThreadEntry | None]:
    """Replace keys of the metadata at the time `at`. See `ThreadDirectory.update`.

    The result has no thread's row, which does not show whether an attempt with an unknown outcome was applied: so the
    transaction runs again.
    """
    locked = yield from lock(thread)
    if locked is None or locked.row.status == "deleted":
        return WriteResult(None)
    found = yield from first_of("find_metadata", thread_key=key_of(thread))
    merged = directory_rules.merged_metadata(thread, found[0] if found is not None else "{}", metadata)
    yield from _put_metadata(thread, merged, at)
    return WriteResult((yield from _entry_of(thread)))


def delete(thread: str, at: int) -> Transaction[DeletedThread]:
    """Delete the thread at the time `at`. See `ThreadDirectory.delete`."""
    try:
        locked = yield from lock(thread)
    except CorruptCheckpointError:
        # A damaged thread is deleted as well, with all rows under its key.
        is_there = True
    else:
        is_there = locked is not None and locked.row.status != "deleted"
    if not is_there:
        return WriteResult(DeletedThread(is_deleted=False))
    unfinished = yield from first_of("find_unfinished_run", thread_key=key_of(thread))
    if unfinished is not None:
        return WriteResult(DeletedThread(is_deleted=False, busy_seq=run_from(unfinished).seq))
    deleted = yield from transactions.delete_thread(thread, None, at, purge=False)
    return WriteResult(DeletedThread(deleted.result), deleted.thread)


def find(thread: str) -> Steps[ThreadEntry | None]:
    """See `ThreadDirectory.find`. One query."""
    columns = yield from first_of("find_entry", thread_key=key_of(thread))
    return None if columns is None else entry_from(columns)


def search(
    sought: Mapping[str, Any], sort_by: SortKey, limit: int, offset: int, *, descending: bool
) -> Steps[list[ThreadEntry]]:
    """See `ThreadDirectory.search`. `sought` are the parameters of the query. One query."""
    page = {"sort_by": sort_by, "descending": descending, "limit": limit, "offset": offset}
    found = yield Query("search_threads", {**sought, **page})
    return [entry_from(columns) for columns in found]


def count(sought: Mapping[str, Any]) -> Steps[int]:
    """See `ThreadDirectory.count`. `sought` are the parameters of the query. One query."""
    found = yield from first_of("count_threads", **{**sought, "sort_by": "thread_id"})
    return found[0] if found is not None else 0


def parameters_of(query: ThreadQuery) -> dict[str, Any]:
    """The parameters of a query, with lists that each database passes in its own way. `entry` is the one of `entries`
    by whose index the search begins."""
    return {
        "entry": query.entries[0] if query.entries else None,
        "entries": list(query.entries),
        "keys": None if query.ids is None else sorted({key_of(thread) for thread in query.ids}),
        "prefix": query.prefix,
        "following": directory_rules.after_prefix(query.prefix),
        "graph": query.graph,
        "status": query.status,
    }


def entry_from(columns: Columns) -> ThreadEntry:
    """The thread in the columns: those of its row and its key, of its metadata, and of two of its runs."""
    info = thread_info_from(columns[: THREAD_WIDTH + 1])
    metadata, updated_at, *of_runs = columns[THREAD_WIDTH + 1 :]
    first, last = _mark(of_runs[:_MARK]), _mark(of_runs[_MARK:])
    stored = StoredMetadata() if metadata is None else StoredMetadata(metadata, updated_at)
    return directory_rules.entry_of(info, stored, first, last)


_MARK = len(RunMark.__struct_fields__)


def _mark(columns: Sequence[Any]) -> RunMark | None:
    return None if columns[0] is None else RunMark(*columns)


def _entry_of(thread: str) -> Part[ThreadEntry]:
    """The thread, which exists."""
    (columns,) = yield Query("find_entry", {"thread_key": key_of(thread)})
    return entry_from(columns)


def _put_metadata(thread: str, metadata: str, at: int) -> Part[None]:
    key = key_of(thread)
    yield Query("put_metadata", {"thread_key": key, "updated_at": at, "metadata": metadata})
    yield Query("delete_metadata_entries", {"thread_key": key})
    yield Batch("add_metadata_entry", [(key, entry) for entry in directory_rules.entries_in(metadata)])
