"""The content of a store for a thread: as a caller reads it, and as bytes."""

from dataclasses import dataclass
from typing import Any

from durable_graph import CompiledGraph
from durable_graph.checkpointing import damaged, verify
from durable_graph.records import CheckpointRow, TaskRecord, ValueRow
from tests.crash.scenarios.graph_shapes import THREAD

MANY = 10_000


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored thread.

    `checkpoints`, `values` and `records` are its rows, without the parts that differ between two runs (times and commit
    ids). `recorded` are the ids of the tasks whose result is stored: in a record, or in a later checkpoint.
    """

    state: dict[str, Any]
    checkpoint_ids: frozenset[str]
    head_tasks: frozenset[str]
    recorded: frozenset[str]
    checkpoints: tuple[tuple[Any, ...], ...]
    values: tuple[ValueRow, ...]
    records: tuple[tuple[Any, ...], ...]

    @property
    def exists(self) -> bool:
        return bool(self.checkpoints)

    @property
    def is_finished(self) -> bool:
        return self.exists and not self.head_tasks


NOTHING = Stored({}, frozenset(), frozenset(), frozenset(), (), (), ())


async def read(graph: CompiledGraph[Any]) -> Stored:
    """The stored thread. Raises for any row that is damaged or missing."""
    saver = graph.checkpointer
    assert saver is not None
    page, found = await saver.history(THREAD, limit=MANY), await saver.load(THREAD)
    if page is None or found is None:
        assert page is None
        assert found is None
        return NOTHING
    verify(found)
    for damage in damaged(page).values():
        raise damage
    head = await graph.aget_state(thread_id=THREAD)
    earlier = [snapshot async for snapshot in graph.aget_state_history(thread_id=THREAD)][1:]
    applied = {task.id for snapshot in earlier for task in snapshot.tasks}
    return Stored(
        state=head.values,
        checkpoint_ids=frozenset(snapshot.config["configurable"]["checkpoint_id"] for snapshot in (head, *earlier)),
        head_tasks=frozenset(task.id for task in head.tasks),
        recorded=frozenset(applied | {task.id for task in head.tasks if task.result is not None}),
        checkpoints=tuple(sorted(_checkpoint(row) for row in page.checkpoints)),
        values=tuple(sorted(page.values, key=lambda row: (row.no, row.channel))),
        records=tuple(sorted(_record(record) for record in page.records)),
    )


def _checkpoint(row: CheckpointRow) -> tuple[Any, ...]:
    return row.no, row.parent, row.born, row.ns, row.header, row.state_digest


def _record(record: TaskRecord) -> tuple[Any, ...]:
    return record.born, record.ord, record.ns, record.rank, record.revision, record.value
