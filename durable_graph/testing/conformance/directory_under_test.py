"""The common part of the clauses of a directory of threads: functions with assertions."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.directory import (
    KeepsDirectory,
    NewThread,
    SortKey,
    ThreadDirectory,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.checkpointing.directory_rules import encoded_metadata, entries_of
from durable_graph.checkpointing.rules import drawn_incarnation

_EVERY = 1000


def directory_of(saver: Checkpointer) -> ThreadDirectory:
    """The saver's directory."""
    assert isinstance(saver, KeepsDirectory), f"{saver} keeps no directory"
    return saver.directory


def new_thread(thread: str, metadata: Mapping[str, Any] | None = None) -> NewThread:
    """A thread to create. Its incarnation and epoch are random."""
    incarnation = drawn_incarnation()
    return NewThread(
        thread, encoded_metadata(metadata or {}), incarnation, origin_of(thread, incarnation), drawn_incarnation()
    )


async def create(saver: Checkpointer, thread: str = "thread", metadata: Mapping[str, Any] | None = None) -> ThreadEntry:
    """Create a thread, assert that it is new, and return it."""
    created = await directory_of(saver).create(new_thread(thread, metadata))
    assert created.is_new, created
    return created.entry


async def update(saver: Checkpointer, metadata: Mapping[str, Any], thread: str = "thread") -> ThreadEntry:
    """Update the metadata of a thread, assert that the thread exists, and return it."""
    entry = await directory_of(saver).update(thread, encoded_metadata(metadata))
    assert entry is not None, f"thread {thread!r} is not there"
    return entry


async def entry_at(saver: Checkpointer, thread: str = "thread") -> ThreadEntry:
    """The thread, which exists."""
    entry = await directory_of(saver).find(thread)
    assert entry is not None, f"thread {thread!r} is not there"
    return entry


async def ids(
    saver: Checkpointer,
    metadata: Mapping[str, Any] | None = None,
    *,
    sort_by: SortKey = "thread_id",
    descending: bool = False,
    limit: int = _EVERY,
    offset: int = 0,
    **conditions: Any,
) -> list[str]:
    """The ids of the threads that a search finds. It is asserted that `count` has their number, and `find` each."""
    query = ThreadQuery(entries=() if metadata is None else entries_of(metadata))
    query = msgspec.structs.replace(query, **conditions)
    directory = directory_of(saver)
    found = await directory.search(query, sort_by=sort_by, descending=descending, limit=limit, offset=offset)
    if limit == _EVERY and not offset:
        assert await directory.count(query) == len(found)
    for entry in found:
        assert entry == await directory.find(entry.thread)
    return [entry.thread for entry in found]
