"""The statements that make prepared writes, and their parameters."""

from collections.abc import Sequence
from typing import Any

from durable_graph.checkpointing.columns import Columns, next_column, thread_columns
from durable_graph.checkpointing.prepared import PreparedWrite
from durable_graph.checkpointing.queries import Query
from durable_graph_postgres.statements import WITH_RUNS

_IN_TRANSACTIONS = ("take_message", "add_end", "continue_run")
_WIDTHS = (27, 5, 11, 8, 10)
_RUN = ("thread_key", "seq", "state", "due", "inbox", "checkpoint", "first_checkpoint", "ended_at", "error", "waits_on")


def is_one_statement(write: PreparedWrite) -> bool:
    """Whether a statement can make the write. It cannot change a run twice: to update it, and to wake it. It takes no
    message, sends no end to a parent, and continues no run as new."""
    names = {name for name, _ in write.runs}
    if not names.isdisjoint(_IN_TRANSACTIONS):
        return False
    return not {"update_run", "wake_run"} <= names


def statement(writes: Sequence[PreparedWrite]) -> tuple[str, Sequence[Any]]:
    """The name of the statement that makes these writes, and its parameters."""
    name, given = _statement(writes)
    changes = writes[0].runs if len(writes) == 1 else [change for write in writes for change in write.runs]
    return (WITH_RUNS[name], (*given, *_of_runs(changes))) if changes else (name, given)


def _statement(writes: Sequence[PreparedWrite]) -> tuple[str, Sequence[Any]]:
    if len(writes) == 1:
        write = writes[0]
        unit = write.unit
        if unit is not None and write.before is not None and not write.records and write.branch is None:
            checkpoints = unit.checkpoints
            if len(checkpoints) == 1:
                return _plain(write)
    return "apply", _of_many(writes)


def _plain(write: PreparedWrite) -> tuple[str, Sequence[Any]]:
    """The statement for a write that only adds one checkpoint to an existing thread, as most supersteps do."""
    unit, before = write.unit, write.before
    assert unit is not None  # noqa: S101  # as above
    assert before is not None  # noqa: S101
    row, sums, new = write.after.row, write.after.sums, unit.checkpoints[0]
    checkpoint, values = new.row, new.values
    given = (
        write.key,
        before.digest,
        before.row.epoch,
        row.version,
        row.head,
        row.graph,
        row.graph_digest,
        row.status,
        row.status_since,
        row.updated_at,
        row.commit_id,
        next_column(row),
        row.metadata,
        row.error,
        sums.writes,
        write.after.digest,
        checkpoint.ns,
        checkpoint.no,
        checkpoint.parent,
        checkpoint.born,
        checkpoint.at,
        checkpoint.commit_id,
        checkpoint.state_digest,
        checkpoint.digest,
        checkpoint.extra,
        checkpoint.header,
    )
    if len(values) == 1:
        value = values[0]
        return "apply_one_value", (*given, value.channel, value.prev, value.kind, value.digest, value.value)
    rows = [(value.channel, value.prev, value.kind, value.digest, value.value) for value in values]
    return "apply_plain", (*given, *_columns(rows, 5))


def _of_many(writes: Sequence[PreparedWrite]) -> list[list[Any]]:
    """The parameters of `apply`: a list for each column."""
    ordered = sorted(writes, key=lambda write: write.key)
    threads = []
    for write in ordered:
        before = (None, None) if write.before is None else (write.before.digest, write.before.row.epoch)
        threads.append((*thread_columns(write.after, write.after.row.thread).values(), *before))
    tables: tuple[list[Columns], ...] = (
        threads,
        [(write.key, *write.branch, b"") for write in ordered if write.branch is not None],
        [row for write in ordered for row in write.checkpoints()],
        [row for write in ordered for row in write.values()],
        [row for write in ordered for row in write.tasks()],
    )
    return [column for rows, width in zip(tables, _WIDTHS, strict=True) for column in _columns(rows, width)]


def _of_runs(changes: Sequence[Query]) -> list[list[Any]]:
    """The parameters that follow in the forms that change runs. They find by themselves which run to unblock."""
    updates = [tuple(sought[column] for column in _RUN) for name, sought in changes if name == "update_run"]
    woken = [sought["thread_key"] for name, sought in changes if name == "wake_run"]
    return [*_columns(updates, len(_RUN)), woken]


def _columns(rows: Sequence[Columns], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
