"""Reading long threads: in pieces, with common values of states decoded once, and owned by each snapshot."""

import asyncio
import operator
import weakref
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, ClassVar, TypedDict

import msgspec
import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    CompiledGraph,
    MemorySaver,
    Overwrite,
    RemoveMessage,
    StateGraph,
    StateSnapshot,
    add_messages,
)
from durable_graph.checkpointing.pieces import PIECE_BYTES
from durable_graph.records import HistoryPage

pytestmark = pytest.mark.slow


class State(TypedDict, total=False):
    count: int
    bag: list[int]
    log: Annotated[list[str], operator.add]
    seen: Annotated[dict[str, int], operator.or_]
    names: Annotated[set[int], operator.or_]
    text: Annotated[str, operator.add]
    messages: Annotated[list[Any], add_messages]


def written(count: int) -> dict[str, Any]:
    """The update of superstep number `count`: every kind of rule, with rewritten keys, removals and overwrites."""
    message: Any = {"id": f"m{count}", "text": str(count)}
    if count % 7 == 3:
        message = RemoveMessage(id=f"m{count - 1}")
    update: dict[str, Any] = {
        "count": count + 1,
        "log": [f"line {count}"],
        "seen": {f"key {count % 5}": count},
        "names": {count % 11},
        "text": f"{count},",
        "messages": [message],
    }
    if count % 3 == 0:
        update["bag"] = [count]
    if count % 40 == 17:
        update["log"] = Overwrite([f"begun anew by {count}"])
    return update


async def step(state: State) -> Any:
    return written(state.get("count", 0))


def looping(saver: Checkpointer, steps: int, node: Any = step, schema: Any = State) -> CompiledGraph[Any]:
    builder = StateGraph(schema)
    builder.add_node("step", node)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if state["count"] % steps == 0 else "step", ["step", END])
    return builder.compile(saver, messages="dict")


async def history(graph: CompiledGraph[Any], **options: Any) -> list[StateSnapshot]:
    return [snapshot async for snapshot in graph.aget_state_history(thread_id="t", **options)]


async def test_a_history_has_the_same_states_as_single_reads_of_its_checkpoints(saver: Checkpointer) -> None:
    graph = looping(saver, 70)
    await graph.ainvoke({"count": 0}, thread_id="t", recursion_limit=200, durability="async")
    forked = await graph.aupdate_state((await history(graph, limit=50))[-1].config, {"log": ["a fork"]}, as_node="step")
    await graph.aupdate_state(forked, {"log": ["and on"]}, as_node="step")

    snapshots = await history(graph)

    assert len(snapshots) == 73
    for snapshot in snapshots:
        alone = await graph.aget_state(snapshot.config)
        assert alone.values == snapshot.values
        assert [(task.name, task.result) for task in alone.tasks] == [
            (task.name, task.result) for task in snapshot.tasks
        ]


async def test_changing_the_values_of_a_snapshot_does_not_change_other_snapshots(saver: Checkpointer) -> None:
    graph = looping(saver, 40)
    await graph.ainvoke({"count": 0}, thread_id="t", recursion_limit=200)
    untouched = await history(graph)

    async for snapshot in graph.aget_state_history(thread_id="t"):
        for value in snapshot.values.values():
            if isinstance(value, list | dict | set):
                value.clear()
    changed = []
    async for snapshot in graph.aget_state_history(thread_id="t"):
        changed.append({key: value.copy() for key, value in snapshot.values.items() if hasattr(value, "copy")})
        for value in snapshot.values.values():
            if isinstance(value, list | dict | set):
                value.clear()

    assert changed == [
        {key: value for key, value in snapshot.values.items() if hasattr(value, "copy")} for snapshot in untouched
    ]


class Lines(TypedDict, total=False):
    count: int
    lines: Annotated[list[str], operator.add]


async def long_line(state: Lines) -> Any:
    return {"count": state["count"] + 1, "lines": [f"{state['count']:0{PIECE_BYTES // 16}}"]}


class Turns:
    """Counts the turns of the event loop while an awaitable runs."""

    def __init__(self) -> None:
        self.count: int = 0

    async def of(self, work: Awaitable[object]) -> int:
        counting = asyncio.create_task(self._count())
        await asyncio.sleep(0)
        self.count = 0
        await work
        counting.cancel()
        return self.count

    async def _count(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


PIECES = 4
NEWEST: Any = {"configurable": {"thread_id": "t"}}


Read = Callable[[CompiledGraph[Any], Any], Awaitable[object]]

READS: dict[str, Read] = {
    "state": lambda graph, older: graph.aget_state(NEWEST),
    "older state": lambda graph, older: graph.aget_state(older),
    "history": lambda graph, older: history(graph, limit=1),
    "run": lambda graph, older: graph.ainvoke({"count": -1}, NEWEST),
    "update": lambda graph, older: graph.aupdate_state(NEWEST, {"count": 5}),
    "fork": lambda graph, older: graph.ainvoke(None, older),
    "edit of a fork": lambda graph, older: graph.aupdate_state(older, {"count": 5}),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_other_tasks_run_between_the_pieces_of_a_long_read(read: Read) -> None:
    graph = looping(MemorySaver(), 16 * PIECES, long_line, Lines)
    await graph.ainvoke({"count": 0}, thread_id="t", recursion_limit=200)
    older = (await history(graph, limit=2))[1].config

    turns = await Turns().of(read(graph, older))

    # One turn after each piece that is checked, and one after each piece that is decoded, except the last ones.
    assert turns >= 2 * (PIECES - 1)


class Counting(MemorySaver):
    """Counts the pages that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def history(self, thread: str, ns: str = "", *, before: int | None = None, limit: int) -> HistoryPage | None:
        self.sizes.append(limit)
        return await super().history(thread, ns, before=before, limit=limit)


async def test_a_filtered_history_of_short_rows_reads_longer_and_longer_pages() -> None:
    saver = Counting()
    graph = looping(saver, 400)
    await graph.ainvoke({"count": 0}, thread_id="t", recursion_limit=800, durability="async")

    found = await history(graph, filter={"source": "input"})

    assert [snapshot.metadata["step"] for snapshot in found if snapshot.metadata] == [0]
    assert saver.sizes == [50, 100, 200, 400]


async def test_history_pages_of_long_rows_stay_short() -> None:
    saver = Counting()
    graph = looping(saver, 110, long_line, Lines)
    await graph.ainvoke({"count": 0}, thread_id="t", recursion_limit=800, durability="async")

    assert len(await history(graph)) == 111
    assert saver.sizes == [50, 50, 50]


class Report(msgspec.Struct, weakref=True):
    """Counts its instances: decoding a Struct makes one."""

    made: ClassVar[list[weakref.ref[Any]]] = []

    text: str

    def __post_init__(self) -> None:
        self.made.append(weakref.ref(self))

    @classmethod
    def alive(cls) -> int:
        return sum(1 for each in cls.made if each() is not None)


class Reports(TypedDict, total=False):
    count: int
    report: Report


async def report(state: Reports) -> Any:
    return {"count": state["count"] + 1, "report": Report(f"{state['count']:0{PIECE_BYTES // 16}}")}


STEPS = 110


async def reporting() -> CompiledGraph[Any]:
    """A graph with a thread of which each superstep stored a large instance of its own."""
    graph = looping(MemorySaver(), STEPS, report, Reports)
    await graph.ainvoke({"count": 0}, thread_id="t", recursion_limit=200)
    Report.made.clear()
    return graph


async def test_a_filtered_history_decodes_the_values_of_matching_checkpoints_alone() -> None:
    graph = await reporting()

    (found,) = await history(graph, filter={"source": "input"})

    assert found.values["count"] == 0
    assert found.tasks[0].result == {"count": 1, "report": Report(f"{0:0{PIECE_BYTES // 16}}")}
    # The result of its task, and one instance for each page: of the checkpoint that continues on the next page.
    assert len(Report.made) < 6


async def test_reading_a_history_does_not_keep_the_values_of_all_pages_in_memory() -> None:
    graph = await reporting()

    most = 0
    async for _ in graph.aget_state_history(thread_id="t"):
        most = max(most, Report.alive())

    assert len(Report.made) >= STEPS
    assert 50 <= most < STEPS
