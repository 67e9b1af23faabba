"""The content of a store for a thread and everything nested in it: decoded, and as bytes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from durable_graph import Checkpointer, CompiledGraph
from durable_graph._engine.header import PlanEntry, Recorded, decode_header
from durable_graph.checkpointing import damaged, verify, verify_records
from durable_graph.records import CheckpointRow, Rank, TaskRecord, ValueRow, checkpoint_id
from tests.crash.engine.reporting import TaskPosition
from tests.crash.scenarios.graph_shapes import THREAD

MANY = 10_000

# A node whose record has one of these ranks does not run again; after a final failure its handler runs.
_NODE_IS_OVER = frozenset({Rank.DONE, Rank.ROUTING_OPEN, Rank.HANDLING})

_decoder = msgspec.msgpack.Decoder(Recorded)
_A_CALL = Recorded("")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one namespace, without the parts that differ between two runs: times and commit ids."""

    checkpoints: tuple[tuple[Any, ...], ...]
    values: tuple[ValueRow, ...]
    records: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class StoredNamespaces:
    """A stored thread.

    `done` are the tasks and calls whose result is stored: in a record, or in a later checkpoint. `nodes_over` are those
    of which at least the node itself has ended. `waiting` are the tasks that could only interrupt again, and `failures`
    those that failed, with the number of the attempt. `open` and `answers` are by the ids of the interrupts.
    """

    state: Any
    is_finished: bool
    open: Mapping[str, Any]
    answers: Mapping[str, Any]
    done: frozenset[TaskPosition]
    nodes_over: frozenset[TaskPosition]
    waiting: frozenset[TaskPosition]
    failures: Mapping[TaskPosition, int]
    checkpoint_ids: frozenset[tuple[str, str]]
    rows: Mapping[str, Rows]

    @property
    def newest(self) -> str | None:
        """The newest checkpoint of the graph itself."""
        return max((id_ for ns, id_ in self.checkpoint_ids if ns == ""), default=None)


_NONE: frozenset[Any] = frozenset()
NOTHING = StoredNamespaces({}, False, {}, {}, _NONE, _NONE, _NONE, {}, _NONE, {})  # noqa: FBT003  # of an empty store


async def look(graph: CompiledGraph[Any], namespaces: Iterable[str]) -> StoredNamespaces:
    """The stored thread in these namespaces. Raises for any row that is damaged or missing."""
    saver = graph.checkpointer
    assert saver is not None
    found = await saver.load(THREAD)
    if found is None:
        return NOTHING
    verify(found)
    parts = [await _part(saver, ns) for ns in sorted({"", *namespaces})]
    head = await graph.aget_state(thread_id=THREAD)
    answers = {id_: graph.topology.argument.decode(data) for part in parts for id_, data in part.answers()}
    return StoredNamespaces(
        state=head.values,
        is_finished=not head.next,
        open={each.id: each.value for each in head.interrupts},
        answers=answers,
        done=frozenset(position for part in parts for position in (*part.passed, *part.of_rank({Rank.DONE}))),
        nodes_over=frozenset(position for part in parts for position in (*part.passed, *part.of_rank(_NODE_IS_OVER))),
        waiting=frozenset(position for part in parts for position in part.waiting(answers)),
        failures={position: attempt for part in parts for position, attempt in part.failures()},
        checkpoint_ids=frozenset((part.ns, checkpoint_id(row.no)) for part in parts for row in part.checkpoints),
        rows={part.ns: part.plain() for part in parts},
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One namespace. `passed` are the tasks of earlier plans that its newest checkpoint does not plan."""

    ns: str
    checkpoints: tuple[CheckpointRow, ...]
    values: tuple[ValueRow, ...]
    records: tuple[TaskRecord, ...]
    passed: frozenset[TaskPosition]
    meanings: Mapping[TaskPosition, tuple[Rank, Recorded]]

    def answers(self) -> Iterator[tuple[str, bytes]]:
        for _, meant in self.meanings.values():
            yield from ((each.id, each.value) for each in meant.answers)

    def of_rank(self, ranks: Iterable[Rank]) -> list[TaskPosition]:
        return [position for position, (rank, _) in self.meanings.items() if rank in ranks]

    def waiting(self, answered: Mapping[str, Any]) -> list[TaskPosition]:
        return [
            position
            for position, (_, meant) in self.meanings.items()
            if meant.asks and not any(ask.id in answered for ask in meant.asks)
        ]

    def failures(self) -> list[tuple[TaskPosition, int]]:
        return [(position, meant.attempt) for position, (rank, meant) in self.meanings.items() if rank == Rank.FAILED]

    def plain(self) -> Rows:
        return Rows(
            tuple((row.no, row.parent, row.born, row.header, row.state_digest) for row in self.checkpoints),
            tuple(sorted(self.values, key=lambda row: (row.no, row.channel))),
            tuple((row.born, row.ord, row.rank, row.revision, _comparable(row)) for row in self.records),
        )


async def _part(saver: Checkpointer, ns: str) -> _Part:
    page = await saver.history(THREAD, ns, limit=MANY)
    found = await saver.load_records(THREAD, ns)
    assert page is not None
    assert found is not None
    for damage in damaged(page).values():
        raise damage
    checkpoints = tuple(sorted(page.checkpoints, key=lambda row: row.no))
    planned = [{_position(row, entry) for entry in decode_header(row.header).plan} for row in checkpoints]
    records = verify_records(found)
    return _Part(
        ns,
        checkpoints,
        page.values,
        records,
        frozenset(set[TaskPosition]().union(*planned[:-1]) - planned[-1] if planned else ()),
        {TaskPosition(ns, record.born, record.ord): (record.rank, _meaning(record)) for record in records},
    )


def _position(row: CheckpointRow, entry: PlanEntry) -> TaskPosition:
    return TaskPosition(row.ns, row.no - entry.ago, entry.ord)


def _comparable(record: TaskRecord) -> bytes:
    """The bytes of a record with all answers marked as claimed: a crash decides whether code has seen them."""
    meant = _meaning(record)
    if meant is _A_CALL:
        return record.value
    seen = tuple(msgspec.structs.replace(each, is_claimed=True) for each in meant.answers)
    return msgspec.msgpack.encode(msgspec.structs.replace(meant, answers=seen))


def _meaning(record: TaskRecord) -> Recorded:
    """The decoded record of a task. The record of a call only says that the call is done."""
    try:
        return _decoder.decode(record.value)
    except msgspec.ValidationError:
        assert record.rank == Rank.DONE
        return _A_CALL
