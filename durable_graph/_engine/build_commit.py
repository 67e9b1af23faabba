"""Supersteps as a unit, which the store applies whole or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from durable_graph._engine.admit import Superseded
from durable_graph._engine.header import Header, Metadata, encode_header, encode_plan, encode_result
from durable_graph._engine.rows import add_rows, encode_whole
from durable_graph._engine.state import Changes, Full, State, Updates, merged
from durable_graph._engine.task import Finished, Outcome
from durable_graph.checkpointing.chains import Stored
from durable_graph.checkpointing.digests import checkpoint_digest, record_digest
from durable_graph.graph import Topology
from durable_graph.records import (
    CheckpointRow,
    CommitUnit,
    NewCheckpoint,
    Status,
    StoredThread,
    Summary,
    TaskRecord,
    ThreadRow,
    next_nodes,
)

_json = msgspec.json.Encoder()
_node_of, _born_of = attrgetter("node"), attrgetter("born")


class NextCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint to be committed: the state, its changes and its source.

    `parent` is the previous checkpoint (0: none). `fork_of` is set if it starts a new branch. `outcomes` are recorded
    with it, of the tasks that led to it; `stops` are outcomes of tasks of its own plan that a breakpoint stops.
    `is_stopped` says that the run ends here although tasks are left to run. `calls` are records of calls whose first
    checkpoint this is.
    """

    state: State
    changes: Changes
    parent: int
    source: str
    writers: tuple[str, ...] = ()
    superseded: tuple[Superseded, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    stops: tuple[Outcome, ...] = ()
    is_stopped: bool = False
    fork_of: int | None = None
    caller: str = ""
    calls: tuple[TaskRecord, ...] = ()

    @property
    def status(self) -> Status:
        if not self.state.plan:
            return "done"
        return "interrupted" if self.is_stopped else "running"


class NamespaceStep(msgspec.Struct, frozen=True):
    """A step of one namespace."""

    topology: Topology
    ns: str
    step: NextCheckpoint


def build_unit(
    thread: ThreadRow,
    stored: Mapping[str, Stored],
    entries: Sequence[NamespaceStep],
    *,
    commit_id: bytes,
    at: int,
    metadata: Metadata,
    max_value_bytes: int,
    base: StoredThread | None = None,
) -> tuple[CommitUnit, dict[str, Stored]]:
    """The unit that commits `entries`, each a checkpoint, to `thread`, and the stored rows once the unit is applied.

    `stored` has the rows stored before, for each namespace; `base` is the thread as the saver returned it.
    """
    checkpoints: list[NewCheckpoint] = []
    records: list[TaskRecord] = []
    after = dict(stored)
    root: NamespaceStep | None = None
    for entry in entries:
        step = entry.step
        root = root if entry.ns else entry
        rows, after[entry.ns] = add_rows(entry.topology, after[entry.ns], step.state, step.changes, max_value_bytes)
        checkpoints.append(NewCheckpoint(_row(entry, after[entry.ns], commit_id, at, metadata), rows))
        if step.outcomes or step.stops:
            records.extend(records_of(after[entry.ns], (*step.outcomes, *step.stops), commit_id))
        records.extend(step.calls)
    unit = CommitUnit(
        thread=thread.thread,
        incarnation=thread.incarnation,
        origin=thread.origin,
        expected=thread.version,
        epoch=thread.epoch,
        wseq=thread.wseq,
        gen=thread.gen,
        commit_id=commit_id,
        at=at,
        status=thread.status if root is None else root.step.status,
        checkpoints=tuple(checkpoints),
        records=tuple(records),
        fork_of=entries[0].step.fork_of,
        summary=None if root is None else _summary(root, metadata),
        base=base,
    )
    return unit, after


def _summary(root: NamespaceStep, metadata: Metadata) -> Summary:
    """The summary in the thread's row after the last step of its outermost graph."""
    return Summary(
        graph=root.topology.graph_name,
        graph_digest=root.topology.nodes_digest,
        next=next_nodes(map(_node_of, root.step.state.plan)),
        metadata=_json.encode(metadata).decode(),
    )


def _row(entry: NamespaceStep, after: Stored, commit_id: bytes, at: int, metadata: Metadata) -> CheckpointRow:
    step, state = entry.step, entry.step.state
    header = Header(
        step=state.step,
        source=step.source,
        plan=encode_plan(state.plan, state.no),
        writers=step.writers,
        superseded=step.superseded,
        metadata=metadata,
        caller=step.caller,
        graph=entry.topology.name if entry.ns else "",
    )
    row = CheckpointRow(
        ns=after.ns,
        no=state.no,
        parent=step.parent,
        born=min(map(_born_of, state.plan), default=state.no),
        at=at,
        commit_id=commit_id,
        header=encode_header(header),
        state_digest=after.digest,
        digest=b"",
    )
    return msgspec.structs.replace(row, digest=checkpoint_digest(after.origin, row))


def with_reduced_values(topology: Topology, step: NextCheckpoint, max_value_bytes: int) -> NextCheckpoint:
    """The step with the encoded values that reducers made, for a later commit.

    Raises `UnstorableValueError` and `ValueTooLargeError`, which a later commit could only raise for all steps at once.
    """
    changes = {
        channel: Full(encode_whole(topology, channel, step.state, max_value_bytes)) if change == Full(None) else change
        for channel, change in step.changes.items()
    }
    return msgspec.structs.replace(step, changes=changes)


def size_of(step: NextCheckpoint) -> int:
    """The bytes of the step's values and outcomes, as far as they are encoded."""
    size = sum(map(size_of_outcome, step.outcomes))
    for change in step.changes.values():
        if isinstance(change, Full):
            size += len(change.data or b"")
        elif isinstance(change, Updates):
            size += sum(map(len, change.data))
    return size


def size_of_outcome(outcome: Outcome) -> int:
    """The bytes of an outcome's writes, as far as they are encoded."""
    return sum(len(write.data or b"") for write in outcome.writes) if isinstance(outcome, Finished) else 0


def joined(earlier: NextCheckpoint, later: NextCheckpoint) -> NextCheckpoint:
    """Two steps as one checkpoint: the later state, with the changes of both. The earlier step gets no checkpoint."""
    return msgspec.structs.replace(
        later,
        changes=merged(earlier.changes, later.changes),
        parent=earlier.parent,
        outcomes=(),
        calls=(*earlier.calls, *later.calls),
    )


def records_of(stored: Stored, outcomes: Iterable[Outcome], commit_id: bytes) -> tuple[TaskRecord, ...]:
    """The outcomes as task records."""
    return tuple(_record(stored, outcome, commit_id) for outcome in outcomes)


def _record(stored: Stored, outcome: Outcome, commit_id: bytes) -> TaskRecord:
    rank, value = encode_result(outcome)
    record = TaskRecord(
        ns=stored.ns,
        born=outcome.task.born,
        ord=outcome.task.ord,
        rank=rank,
        revision=outcome.revision,
        commit_id=commit_id,
        value=value,
        digest=b"",
    )
    return msgspec.structs.replace(record, digest=record_digest(stored.origin, record))
