"""Forged rows with matching digests: changes that a digest cannot detect."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from durable_graph import MemorySaver
from durable_graph.checkpointing import digests, rules
from durable_graph.checkpointing.memory_rows import ThreadRows, last_within
from durable_graph.records import CheckpointRow, TaskRecord, ValueRow

R = TypeVar("R", CheckpointRow, TaskRecord, ValueRow)
Change = Callable[[R], R]


def forge_checkpoint(saver: MemorySaver, which: int, change: Change[CheckpointRow]) -> None:
    """Change a checkpoint's row of the only thread, counted from the newest, and make the digests fit."""
    stored = _only(saver)
    rows = stored.checkpoints[""]
    no = rows.order[-1 - which % len(rows.order)]
    rows.put(no, change(rows.by_key[no]))
    _sign(stored)


def forge_record(saver: MemorySaver, which: int, change: Change[TaskRecord]) -> None:
    """Change a task's record in the same way."""
    stored = _only(saver)
    rows = stored.records[""]
    key = rows.order[-1 - which % len(rows.order)]
    row = change(rows.by_key[key])
    rows.put(key, msgspec.structs.replace(row, digest=digests.record_digest(stored.row.origin, row)))
    _sign(stored)


def forge_value(saver: MemorySaver, channel: str, which: int, change: Change[ValueRow]) -> None:
    """Change a channel's row in the same way."""
    stored = _only(saver)
    rows = stored.values[""][channel]
    no = rows.order[-1 - which % len(rows.order)]
    row = change(rows.by_key[no])
    rows.put(no, msgspec.structs.replace(row, digest=digests.value_digest(stored.row.origin, "", row)))
    _sign(stored)


def _only(saver: MemorySaver) -> ThreadRows:
    # Private: the rows of a MemorySaver have no public access, because only tests need it.
    (stored,) = saver._threads.values()
    return stored


def _sign(stored: ThreadRows) -> None:
    for ns, checkpoints in stored.checkpoints.items():
        for no in checkpoints.order:
            row = checkpoints.by_key[no]
            intervals = rules.lineage(stored.parents, no)
            channels = stored.values.get(ns, {}).values()
            lasts = [rows.by_key[last] for rows in channels if (last := last_within(rows, intervals))]
            row = msgspec.structs.replace(row, state_digest=digests.state_digest(lasts))
            signed = digests.checkpoint_digest(stored.row.origin, row)
            checkpoints.put(no, msgspec.structs.replace(row, digest=signed))
    stored.writes = digests.writes_digest(stored.records_of_head(stored.head_born()))
