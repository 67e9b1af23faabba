"""Loading a checkpoint: one statement, so that all of its rows are from one snapshot of the database."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from durable_graph.checkpointing.columns import (
    Columns,
    above_limit,
    checkpoint_from,
    key_of,
    missing_head,
    missing_newest,
    orphaned,
    record_from,
    thread_from,
    value_from,
)
from durable_graph.checkpointing.queries import Query, Steps, check_branches
from durable_graph.checkpointing.rules import begins_thread
from durable_graph.errors import CorruptCheckpointError, ValueTooLargeError
from durable_graph.records import NestedRecord, StoredCheckpoint

_CHECKPOINT_WIDTH, _RECORD_WIDTH = 10, 9
_THREAD, _CHECKPOINT, _BRANCH, _VALUE, _RECORD, _NESTED, _VANISHED, _ORPHAN = 0, 1, 2, 3, 4, 5, 6, 9


def load(thread: str, ns: str, no: int | None, max_value_bytes: int) -> Steps[StoredCheckpoint | None]:
    """A checkpoint with the rows of its state. One query. Raises `ValueTooLargeError`."""
    found = yield Query("load", {"thread_key": key_of(thread), "ns": ns, "no": no, "most": max_value_bytes})
    return _loaded(thread, ns, no, max_value_bytes, found)


def _loaded(
    thread: str, ns: str, no: int | None, max_value_bytes: int, rows: Sequence[Columns]
) -> StoredCheckpoint | None:
    arms: Mapping[int, list[Columns]] = {
        arm: [] for arm in (_THREAD, _CHECKPOINT, _BRANCH, _VALUE, _RECORD, _NESTED, _VANISHED, _ORPHAN)
    }
    for arm, *columns in rows:
        arms[arm].append(tuple(columns))
    if arms[_ORPHAN]:
        if (what := arms[_ORPHAN][0][0]) is not None:
            raise orphaned(thread, what)
        return None
    found = arms[_CHECKPOINT]
    stored = thread_from(thread, _thread_columns(arms[_THREAD][0][-1]), found[0][3] if found else 0)
    row, unfinished = stored.row, arms[_THREAD][0][1] or 0
    branches = [(first, parent, digest, extra) for _, first, parent, _, _, digest, extra, *_ in arms[_BRANCH]]
    is_head = ns == "" and no in (None, row.head)
    if not found:
        if is_head and row.head:
            raise missing_head(row)
        if ns and no is None and row.head:
            check_branches(row, branches, stored.sums.branches)
            if arms[_VANISHED]:
                raise missing_newest(thread, ns)
        # A thread whose first run was accepted has a row, which its first commit replaces.
        is_accepted = begins_thread(row) and row.status != "deleted"
        return StoredCheckpoint(row, None, base=stored if is_accepted and is_head else None, unfinished_run=unfinished)
    checkpoint = checkpoint_from(thread, found[0][:_CHECKPOINT_WIDTH])
    check_branches(row, branches, stored.sums.branches if no is None else None)
    for channel, _, _, _, size, *_ in arms[_VALUE]:
        if size is not None:
            raise above_limit(channel, size, max_value_bytes)
    return StoredCheckpoint(
        thread=row,
        checkpoint=checkpoint,
        values=tuple(
            value_from(thread, channel, number, prev, kind, value, digest)
            for channel, number, prev, kind, _, value, digest, *_ in arms[_VALUE]
        ),
        records=tuple(record_from(thread, columns[:_RECORD_WIDTH]) for columns in sorted(arms[_RECORD], key=_place)),
        writes_digest=stored.sums.writes if is_head else None,
        nested=tuple(NestedRecord(ns, born, order, digest) for ns, born, order, _, _, digest, *_ in arms[_NESTED]),
        base=stored if is_head else None,
        unfinished_run=unfinished,
    )


def loaded_from(
    threads: Mapping[int, str], found: Sequence[Columns], max_value_bytes: int
) -> dict[str, StoredCheckpoint]:
    """The heads of many threads, whose ids are given by key. A thread that cannot be loaded is left out."""
    rows: dict[int, list[Columns]] = {key: [] for key in threads}
    for key, *columns in found:
        rows[key].append(tuple(columns))
    loaded: dict[str, StoredCheckpoint] = {}
    for key, of_thread in rows.items():
        # `load` raises the error, and the thread is left out here.
        with suppress(CorruptCheckpointError, ValueTooLargeError):
            head = _loaded(threads[key], "", None, max_value_bytes, of_thread)
            if head is not None:
                loaded[threads[key]] = head
    return loaded


def _place(record: Columns) -> Columns:
    # All records are of one namespace. The server returns them in no particular order.
    return record[1:3]


_READ: tuple[Callable[[str], Any], ...] = (
    *(str, int, bytes.fromhex, str, bytes.fromhex, int, int, int, int, int, int, str, int, int, int),
    *(bytes.fromhex, str, str, str, *(bytes.fromhex,) * 5),
)
"""The conversion of each column of a thread's row from its text to its value."""


def _thread_columns(texts: Sequence[str | None]) -> Columns:
    return tuple(None if text is None else read(text) for read, text in zip(_READ, texts, strict=True))
