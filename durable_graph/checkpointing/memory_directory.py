"""`MemorySaver.directory`: the saver's threads, with and without checkpoints, and their metadata."""

import time
from contextlib import AbstractContextManager

from durable_graph.checkpointing import directory_rules, rules
from durable_graph.checkpointing.binding import Binding
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.directory import (
    CreatedThread,
    DeletedThread,
    NewThread,
    SortKey,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.checkpointing.directory_rules import RunMark
from durable_graph.checkpointing.memory_lock import alone
from durable_graph.checkpointing.memory_rows import RunRows, ThreadRows
from durable_graph.run_records import RunRow


class MemoryDirectory:
    """The directory of a `MemorySaver`. See `ThreadDirectory`."""

    def __init__(self, threads: dict[int, ThreadRows], lock: AbstractContextManager[object], binding: Binding) -> None:
        self._threads = threads
        self._lock = lock
        self._binding = binding

    @alone
    async def create(self, new: NewThread) -> CreatedThread:
        """See `ThreadDirectory.create`."""
        found = self._living(new.thread)
        if found is not None:
            return CreatedThread(found.row.incarnation == new.incarnation, _entry(found))
        grave, at = self._threads.get(key_of(new.thread)), _now()
        row = rules.created_thread(new, None if grave is None else grave.row, at)
        made = self._threads[key_of(new.thread)] = ThreadRows(
            row,
            metadata=directory_rules.stored_metadata(new.metadata, at),
            runs=RunRows(grave.runs.last if grave is not None else 0),
        )
        return CreatedThread(is_new=True, entry=_entry(made))

    @alone
    async def find(self, thread: str) -> ThreadEntry | None:
        """See `ThreadDirectory.find`."""
        found = self._living(thread)
        return None if found is None else _entry(found)

    @alone
    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        """See `ThreadDirectory.update`."""
        found = self._living(thread)
        if found is None:
            return None
        merged = directory_rules.merged_metadata(thread, found.metadata.text, metadata)
        found.metadata = directory_rules.stored_metadata(merged, _now())
        return _entry(found)

    @alone
    async def delete(self, thread: str) -> DeletedThread:
        """See `ThreadDirectory.delete`."""
        found = self._living(thread)
        if found is None:
            return DeletedThread(is_deleted=False)
        unfinished = found.runs.first()
        if unfinished is not None:
            return DeletedThread(is_deleted=False, busy_seq=unfinished.seq)
        self._threads[key_of(thread)] = ThreadRows(rules.tombstone(found.row, _now()), runs=RunRows(found.runs.last))
        return DeletedThread(is_deleted=True)

    @alone
    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        """See `ThreadDirectory.search`."""
        rules.check_limit(limit)
        directory_rules.check_page(limit, offset)
        found = directory_rules.page_of(self._found(query), sort_by, descending=descending)
        return found[offset : offset + limit]

    @alone
    async def count(self, query: ThreadQuery) -> int:
        """See `ThreadDirectory.count`."""
        return len(self._found(query))

    def _living(self, thread: str) -> ThreadRows | None:
        found = self._threads.get(key_of(thread))
        return None if found is None or found.row.status == "deleted" else found

    def _found(self, query: ThreadQuery) -> list[ThreadEntry]:
        living = (stored for stored in self._threads.values() if stored.row.status != "deleted")
        entries = ((_entry(stored), stored.metadata.entries) for stored in living)
        return [entry for entry, digests in entries if directory_rules.has_all(query, entry, digests)]


def _entry(stored: ThreadRows) -> ThreadEntry:
    runs = stored.runs
    first = runs.first()
    last = runs.by_seq[max(runs.by_seq)].row if runs.by_seq else None
    return directory_rules.entry_of(rules.thread_info(stored.row), stored.metadata, _mark(first), _mark(last))


def _mark(run: RunRow | None) -> RunMark | None:
    if run is None:
        return None
    return RunMark(run.state, run.due, run.deadline, run.waits_on, run.graph, run.ended_at, run.error)


def _now() -> int:
    return time.time_ns() // 1000
