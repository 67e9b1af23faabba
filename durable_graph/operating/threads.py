"""Threads as the store has them: their state of affairs, history and questions, without the code of their graphs."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Any

import msgspec

from durable_graph._engine.delays import delay_of
from durable_graph._engine.header import decode_header, open_asks_in
from durable_graph._engine.task import Task
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.directory import KeepsDirectory, ThreadQuery
from durable_graph.checkpointing.integrity import verify, verify_page
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import UnknownThreadError
from durable_graph.operating.stored_values import plain_value
from durable_graph.operating.targets import listed_runs, named_run
from durable_graph.records import (
    CheckpointRow,
    ListedStatus,
    StoredCheckpoint,
    ThreadInfo,
    checkpoint_id,
    is_text,
    next_nodes,
)
from durable_graph.run_records import UPDATES
from durable_graph.runs.handle import RunStatus, status_of
from durable_graph.runs.times import moment

_PAGE = 500


class ListedThread(msgspec.Struct, frozen=True):
    """A thread in a listing. `since` is the time since which it has its status, `metadata` its own (empty for a saver
    without a directory). Of a damaged thread only the id and the description of the damage are reliable."""

    thread_id: str
    status: ListedStatus
    graph: str | None
    next: tuple[str, ...]
    since: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    error: str | None
    damage: str | None
    metadata: dict[str, Any]


class ShownCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint of the history. `writers` are the nodes whose writes made it, `next` the nodes that it planned."""

    checkpoint_id: str
    step: int
    source: str
    writers: tuple[str, ...]
    next: tuple[str, ...]
    made_at: datetime | None


class ShownInterrupt(msgspec.Struct, frozen=True):
    """An interrupt without an answer. `value` is plain data: see `stored_values`.

    `due` is the time at which the run continues by itself, `topic` the topic of the message that it waits for.
    """

    id: str
    node: str
    key: str | None
    topic: str | None
    due: datetime | None
    value: Any


class ShownThread(msgspec.Struct, frozen=True):
    """A thread with its runs (those that were asked for), its newest checkpoints, newest first, and its open questions.

    `metadata` is the thread's own, `call_metadata` that of its newest call, and `updates` has the keys of the updates
    that no run has applied.
    """

    thread_id: str
    status: str
    graph: str | None
    next: tuple[str, ...]
    created_at: datetime | None
    updated_at: datetime | None
    error: str | None
    metadata: dict[str, Any]
    call_metadata: dict[str, Any]
    runs: list[RunStatus]
    checkpoints: list[ShownCheckpoint]
    interrupts: list[ShownInterrupt]
    updates: list[str]


async def listed_threads(saver: Checkpointer, status: ListedStatus | None) -> AsyncGenerator[ListedThread, None]:
    """The threads of the store, or those of one status."""
    after: ThreadInfo | None = None
    while page := await saver.list_threads(status=status, limit=_PAGE, after=after):
        metadata = await _metadata_of(saver, [info.thread for info in page])
        for info in page:
            yield _listed(info, metadata.get(info.thread, {}))
        after = page[-1]


async def _metadata_of(saver: Checkpointer, threads: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The metadata of threads, by their ids. A damaged id may be no text, and then names no thread."""
    if not isinstance(saver, KeepsDirectory):
        return {}
    query = ThreadQuery(ids=tuple(thread for thread in threads if is_text(thread)))
    found = await saver.directory.search(query, sort_by="thread_id", descending=False, limit=_PAGE, offset=0)
    return {entry.thread: entry.metadata for entry in found}


def _listed(info: ThreadInfo, metadata: dict[str, Any]) -> ListedThread:
    return ListedThread(
        thread_id=info.thread,
        status=info.status,
        graph=info.graph,
        next=info.next,
        since=moment(info.since),
        created_at=moment(info.created_at),
        updated_at=moment(info.updated_at),
        error=info.error,
        damage=info.damage,
        metadata=metadata,
    )


async def shown(saver: Checkpointer, target: str, limit: int) -> ShownThread:
    """The thread with this id, or the thread of the run with this id and this run alone. `limit` is the largest number
    of checkpoints.

    Raises `UnknownThreadError`, and `CorruptCheckpointError` for damage in what is shown.
    """
    run = await named_run(saver, target)
    thread = target if run is None else run.thread
    found = await saver.load(thread)
    if found is None or found.thread.status == "deleted":
        raise UnknownThreadError(target)
    verify(found)
    runs: list[RunStatus] = []
    updates: list[str] = []
    if isinstance(saver, KeepsRuns):
        # The listing has the names of workers, which the row of a single run has not.
        every = [status_of(row) async for row in listed_runs(saver.runs, thread=thread)]
        updates = [message.key for message in await saver.runs.inbox(thread, (UPDATES,))]
        runs = every if run is None else [each for each in every if each.run_id == status_of(run).run_id]
    row = found.thread
    return ShownThread(
        thread_id=thread,
        status=row.status,
        graph=row.graph,
        next=row.next,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        error=row.error,
        metadata=(await _metadata_of(saver, [thread])).get(thread, {}),
        call_metadata=msgspec.json.decode(row.metadata, type=dict[str, Any]),
        runs=runs,
        checkpoints=await _history(saver, thread, limit),
        interrupts=_questions(found),
        updates=updates,
    )


async def _history(saver: Checkpointer, thread: str, limit: int) -> list[ShownCheckpoint]:
    page = await saver.history(thread, limit=limit)
    if page is None:
        return []
    verify_page(page)
    return [_checkpoint(row) for row in page.checkpoints]


def _checkpoint(row: CheckpointRow) -> ShownCheckpoint:
    header = decode_header(row.header)
    planned = next_nodes(entry.node for entry in header.plan)
    return ShownCheckpoint(checkpoint_id(row.no), header.step, header.source, header.writers, planned, moment(row.at))


def _questions(found: StoredCheckpoint) -> list[ShownInterrupt]:
    if found.checkpoint is None:
        return []
    no = found.checkpoint.no
    planned = {(no - entry.ago, entry.ord): entry for entry in decode_header(found.checkpoint.header).plan}
    recorded = {(record.born, record.ord): record for record in found.records if (record.born, record.ord) in planned}
    asking = [open_asks_in(record.value) for record in recorded.values()]
    asked = [
        ShownInterrupt(ask.id, node, ask.key, ask.topic, moment(ask.due), plain_value(ask.value))
        for node, asks in asking
        for ask in asks
    ]
    later = [
        Task(entry.node, *key, due=entry.due) for key, entry in planned.items() if entry.due and key not in recorded
    ]
    return asked + [_delay(found, task) for task in later]


def _delay(found: StoredCheckpoint, task: Task) -> ShownInterrupt:
    """The interrupt of a delayed task, for which nothing is recorded."""
    delay = delay_of(found.thread.origin, "", task)
    return ShownInterrupt(delay.id, task.node, None, None, delay.due, None)
