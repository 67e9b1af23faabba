"""Converting a thread of `MemorySaver` to the rows of an export, and back."""

from collections.abc import Iterable
from typing import Any

import msgspec

from durable_graph.checkpointing import rules
from durable_graph.checkpointing.columns import (
    Columns,
    checkpoint_columns,
    record_columns,
    record_from,
    request_columns,
    request_from,
    signed,
    thread_columns,
    thread_from,
    value_columns,
    value_from,
)
from durable_graph.checkpointing.digests import EMPTY_STATE, add, branch_digest
from durable_graph.checkpointing.directory_rules import stored_metadata
from durable_graph.checkpointing.memory_rows import Inbox, Rows, RunRows, StoredRun, ThreadRows
from durable_graph.checkpointing.transfer import COLUMNS, ExportedThread, rows_of
from durable_graph.records import CheckpointRow, Sums
from durable_graph.run_records import Message, RunRow, RunState


def exported_from(found: ThreadRows) -> ExportedThread:
    """The thread's rows in the export format."""
    row = found.row
    branches = {first: branch_digest(row.origin, first, parent) for first, parent in found.parents.items()}
    in_lineage = (branches[first] for first, _ in rules.lineage(found.parents, row.version))
    sums = Sums(found.writes, add(EMPTY_STATE, *in_lineage), found.requests_digest)
    columns = {**thread_columns(signed(row, sums, found.head_born()), row.thread), "run_seq": found.runs.last}
    checkpoints = (each for rows in found.checkpoints.values() for each in rows.by_key.values())
    values = (
        (ns, each)
        for ns, channels in found.values.items()
        for rows in channels.values()
        for each in rows.by_key.values()
    )
    records = (each for rows in found.records.values() for each in rows.by_key.values())
    tables: dict[str, list[Columns]] = {
        "threads": [tuple(columns[name] for name in COLUMNS["threads"])],
        "branches": [(first, found.parents[first], digest, b"") for first, digest in branches.items()],
        "checkpoints": _without_key(checkpoint_columns(0, each) for each in checkpoints),
        "channel_rows": _without_key(value_columns(0, ns, each) for ns, each in values),
        "tasks": _without_key(record_columns(0, each) for each in records),
        "requests": _without_key(request_columns(0, each) for each in found.requests.values()),
        "runs": [_run_columns(each, found) for each in found.runs.by_seq.values()],
        "messages": _messages(found.runs.inbox),
        "thread_metadata": [(found.metadata.updated_at, found.metadata.text)] if found.metadata.updated_at else [],
    }
    return ExportedThread(row.thread, {table: sorted(rows, key=repr) for table, rows in tables.items()})


def stored_from(exported: ExportedThread) -> ThreadRows:
    """The thread of these rows. Raises `CorruptCheckpointError` if the thread's own row is damaged."""
    (columns,) = _named(exported, "threads")
    found = thread_from(exported.thread, tuple(columns[name] for name in COLUMNS["threads"] if name != "run_seq"))
    stored = ThreadRows(found.row, found.sums.writes, runs=RunRows(columns["run_seq"]))
    stored.parents = {each["first"]: each["parent"] for each in _named(exported, "branches")}
    for each in _named(exported, "checkpoints"):
        checkpoint = CheckpointRow(
            ns=each["namespace"],
            no=each["number"],
            parent=each["parent"],
            born=each["planned_at"],
            at=each["made_at"],
            commit_id=each["commit_id"],
            header=each["header"],
            state_digest=each["state_digest"],
            digest=each["digest"],
            extra=each["extra"],
        )
        stored.checkpoints.setdefault(checkpoint.ns, Rows()).put(checkpoint.no, checkpoint)
    for each in _named(exported, "channel_rows"):
        place = (each["channel"], each["number"], each["previous"], each["kind"])
        value = value_from(exported.thread, *place, each["value"], each["digest"])
        stored.values.setdefault(each["namespace"], {}).setdefault(value.channel, Rows()).put(value.no, value)
    stored.requests = {row[0]: request_from(exported.thread, row) for row in exported.tables["requests"]}
    for each in _named(exported, "tasks"):
        names = ("namespace", "planned_at", "position", "rank", "revision", "commit_id", "value", "digest", "extra")
        record = record_from(exported.thread, tuple(each[name] for name in names))
        stored.records.setdefault(record.ns, Rows()).put((record.born, record.ord), record)
    for row in rows_of(exported, "runs", 0):
        stored.runs.put(_run_from(exported.thread, dict(zip(COLUMNS["runs"], row[1:], strict=True))))
    for each in _named(exported, "messages"):
        inbox, seq = stored.runs.inbox, each["seq"]
        inbox.keys[each["topic"], each["key"]] = seq
        if each["taken"]:
            inbox.taken[seq] = each["taken"]
        else:
            inbox.waiting[seq] = Message(seq, each["topic"], each["value"], each["key"])
    for each in _named(exported, "thread_metadata"):
        stored.metadata = stored_metadata(each["metadata"], each["updated_at"])
    return stored


_OF_ROW = frozenset(RunRow.__struct_fields__)


def _run_columns(run: StoredRun, found: ThreadRows) -> Columns:
    row = msgspec.structs.asdict(run.row)
    request = next((each for each in found.requests.values() if each.seq == run.row.seq), None)
    columns = {
        **row,
        "state": int(run.row.state),
        "thread_id": run.row.thread,
        "input_digest": b"" if request is None else request.input_digest,
        "input": run.input,
        "options": run.options,
        "context": run.context,
        "extra": run.token,
        "limit_key": run.limit_key,
    }
    # The other columns belong to powers that runs in memory lack.
    return tuple(columns.get(name, 0) for name in COLUMNS["runs"])


def _run_from(thread: str, columns: dict[str, Any]) -> StoredRun:
    known = {name: value for name, value in columns.items() if name in _OF_ROW}
    row = RunRow(**{**known, "thread": thread, "state": RunState(columns["state"])})
    given = (columns["input"], columns["options"], columns["context"], columns["extra"])
    return StoredRun(row, *given, limit_key=columns["limit_key"])


def _messages(inbox: Inbox) -> list[Columns]:
    return [
        (seq, topic, key, inbox.taken.get(seq, 0), 0, b"", inbox.waiting[seq].value if seq in inbox.waiting else b"")
        for (topic, key), seq in inbox.keys.items()
    ]


def _without_key(rows: Iterable[Columns]) -> list[Columns]:
    return [row[1:] for row in rows]


def _named(exported: ExportedThread, table: str) -> Iterable[dict[str, Any]]:
    return (dict(zip(COLUMNS[table], row, strict=True)) for row in exported.tables[table])
