"""The commits of each durability mode, and the effects of a failing or slow store on a run."""

import asyncio
import operator
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    MemorySaver,
    StateGraph,
    UnstorableValueError,
    interrupt,
    task,
)
from durable_graph.records import CommitResult, CommitUnit
from durable_graph.testing.crash import CrashingSaver, CrashPoint, SimulatedCrashError, crash_points

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def chain(length: int, before: Callable[[str], Awaitable[None]] | None = None) -> StateGraph[State]:
    """`length` sequential nodes, each of which awaits `before`."""

    def logging(name: str) -> Any:
        async def node(state: State) -> State:
            if before is not None:
                await before(name)
            return {"log": [name]}

        return node

    names = [f"n{place:02}" for place in range(length)]
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, logging(name))
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder


async def test_the_input_is_durable_before_any_node_runs(saver: Checkpointer, durability: Durability) -> None:
    """LangGraph: in 90 of 200 runs nothing was durable when the first node ran, and `exit` lost the input."""
    seen: list[Any] = []

    async def look(name: str) -> None:
        if not seen:
            seen.append((await graph.aget_state(thread_id="t")).values)

    graph = chain(2, look).compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    assert seen == [{"log": ["in"]}]


async def test_a_chain_costs_one_commit_per_node_and_one_for_the_input() -> None:
    counting = CrashingSaver(MemorySaver())

    await chain(10).compile(counting).ainvoke({}, thread_id="t")

    assert counting.names == ["load", *["commit"] * 11]


async def test_exit_durability_commits_the_input_and_the_final_state() -> None:
    counting = CrashingSaver(MemorySaver())
    graph = chain(10).compile(counting)

    await graph.ainvoke({}, thread_id="t", durability="exit")

    assert counting.names == ["load", "commit", "commit"]
    history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]
    assert [(each.metadata or {})["step"] for each in history] == [10, 0]
    assert history[0].values["log"] == [f"n{place:02}" for place in range(10)]


async def test_exit_durability_commits_at_an_error_and_resumes_from_there(saver: Checkpointer) -> None:
    failing = True

    async def fail(name: str) -> None:
        if failing and name == "n07":
            raise ConnectionError

    graph = chain(10, fail).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": ["in"]}, thread_id="t", durability="exit")

    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.next, len(snapshot.values["log"])) == (("n07",), 8)
    assert snapshot.tasks[0].error == "ConnectionError()"
    failing = False
    result = await graph.ainvoke(None, thread_id="t", durability="exit")
    assert result["log"] == ["in", *(f"n{place:02}" for place in range(10))]


async def calls_of_a_run(durability: Durability) -> int:
    """The number of calls of the store in a run of ten nodes."""
    counting = CrashingSaver(MemorySaver())
    await chain(10).compile(counting).ainvoke({"log": ["in"]}, thread_id="t", durability=durability)
    return counting.calls


async def test_no_new_node_starts_after_a_store_failure(durability: Durability) -> None:
    """LangGraph (P5, P6): every node ran, and the error came at the end."""
    for call in range(1, await calls_of_a_run(durability) + 1):
        failing = CrashingSaver(MemorySaver(), CrashPoint(call, "before"))
        started_after: list[str] = []

        async def look(name: str, failing: CrashingSaver = failing, after: list[str] = started_after) -> None:
            if failing.crashed:
                after.append(name)

        with pytest.raises(SimulatedCrashError):
            await chain(10, look).compile(failing).ainvoke({}, thread_id="t", durability=durability)

        # With "async" a node may start at the moment at which the store fails.
        assert len(started_after) <= (1 if durability == "async" else 0)


class SlowSaver(CrashingSaver):
    """Commits only while its gate is open."""

    def __init__(self) -> None:
        super().__init__(MemorySaver())
        self.gate = asyncio.Event()
        self.gate.set()

    async def commit(self, unit: CommitUnit) -> CommitResult:
        await self.gate.wait()
        return await super().commit(unit)


async def test_async_durability_is_ahead_of_a_slow_store_by_a_bounded_number_of_supersteps() -> None:
    """LangGraph (P7): 196 of 200 were still queued."""
    from durable_graph._runtime.request.run import Request

    backlog = Request(None).backlog
    saver = SlowSaver()
    ran: list[str] = []

    async def note(name: str) -> None:
        ran.append(name)
        saver.gate.clear()

    run = asyncio.create_task(chain(60, note).compile(saver).ainvoke({}, thread_id="t", durability="async"))
    for _ in range(2000):
        await asyncio.sleep(0)

    # The backlog, the commit in progress, and the commit that waits for room in the backlog.
    assert backlog <= len(ran) <= backlog + 2
    while not run.done():
        saver.gate.set()
        await asyncio.sleep(0)
    assert len((await run)["log"]) == 60


@pytest.mark.parametrize("calls_left", range(1, 7))
async def test_exit_durability_stores_no_interrupt_before_the_supersteps_that_led_to_it(calls_left: int) -> None:
    """A task's result is persisted at once, with everything before it: that may take long, and the run continues."""
    saver = SlowSaver()
    is_asking = asyncio.Event()

    async def before(state: State) -> State:
        return {"log": ["before"]}

    async def asks(state: State) -> State:
        is_asking.set()
        return {"log": [interrupt("sure?")]}

    @task
    async def call() -> str:
        saver.gate.clear()
        return "called"

    other = StateGraph(State).add_node("before", before).add_edge(START, "before").compile(name="other")

    async def calls(state: State) -> State:
        # Another process may run this node first: its nested graph then gets other numbers.
        return {"log": [await call(), *(await other.ainvoke({}))["log"]]}

    inner = StateGraph(State).add_sequence([before, asks]).add_edge(START, "before").compile(name="inner")
    builder = StateGraph(State).add_node("plan", before).add_node("inner", inner).add_node(calls)
    builder.add_edge(START, "plan").add_edge("plan", "calls").add_edge("plan", "inner")

    run = asyncio.create_task(builder.compile(saver).ainvoke({}, thread_id="t", durability="exit"))
    await is_asking.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    saver.point = CrashPoint(saver.calls + calls_left, "after")
    saver.gate.set()
    with suppress(SimulatedCrashError):
        await run

    graph: CompiledGraph[Any] = builder.compile(saver.inner)
    if not (interrupts := (await graph.aget_state(thread_id="t")).interrupts):
        interrupts = tuple((await graph.ainvoke(None, thread_id="t"))["__interrupt__"])
    (question,) = interrupts
    result = await graph.ainvoke(Command(resume={question.id: "yes"}), thread_id="t")
    assert "__interrupt__" not in result
    assert result["log"].count("yes") == 1


async def test_async_durability_keeps_order_and_consistency_when_the_process_dies() -> None:
    whole = ["in", *(f"n{place:02}" for place in range(10))]
    seen: set[int] = set()
    for point in crash_points(await calls_of_a_run("async")):
        store = MemorySaver()
        dying = chain(10).compile(CrashingSaver(store, point))
        with pytest.raises(SimulatedCrashError):  # noqa: PT012  # after the last reply, only the next call notices
            await dying.ainvoke({"log": ["in"]}, thread_id="t", durability="async")
            await dying.aget_state(thread_id="t")

        graph = chain(10).compile(store)
        snapshot = await graph.aget_state(thread_id="t")
        kept = snapshot.values.get("log", [])
        seen.add(len(kept))
        assert kept == whole[: len(kept)]
        if snapshot.next:
            assert (await graph.ainvoke(None, thread_id="t"))["log"] == whole
    assert len(seen) > 2


async def test_all_durability_modes_store_the_same_final_state(durability: Durability) -> None:
    store = MemorySaver()
    graph = chain(5).compile(store)

    await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    assert (await graph.aget_state(thread_id="t")).values == {"log": ["in", *(f"n{place:02}" for place in range(5))]}
    assert [info.status for info in await store.list_threads()] == ["done"]


async def test_the_status_of_a_thread_is_running_then_failed_then_done() -> None:
    store = MemorySaver()
    seen: list[Any] = []
    failing = True

    async def look(name: str) -> None:
        seen.append([(info.thread, info.status) for info in await store.list_threads()])
        if failing:
            raise ConnectionError

    graph = chain(1, look).compile(store)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({}, thread_id="t")
    assert [info.status for info in await store.list_threads(status="failed")] == ["failed"]
    failing = False
    await graph.ainvoke(None, thread_id="t")

    assert seen == [[("t", "running")], [("t", "running")]]
    assert [info.status for info in await store.list_threads()] == ["done"]


async def test_supersteps_before_a_reducer_result_that_cannot_be_stored_are_kept(
    saver: Checkpointer, durability: Durability
) -> None:
    broken = True

    def keep(left: Any, right: Any) -> Any:
        return (lambda: right) if broken and right == "third" else right

    class Reduced(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        last: Annotated[Any, keep]

    calls: list[str] = []

    def node(name: str) -> Any:
        async def run(state: Reduced) -> dict[str, Any]:
            calls.append(name)
            return {"log": [name], "last": name}

        return run

    names = ["first", "second", "third", "fourth"]
    builder = StateGraph(Reduced)
    for name in names:
        builder.add_node(name, node(name))
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    graph = builder.compile(saver)
    if durability == "async":
        # The run may be ahead when the store reaches the value: it stops, and resumes from the superstep before.
        with pytest.raises(UnstorableValueError):
            await graph.ainvoke({}, thread_id="t", durability=durability)
    else:
        with pytest.raises(UnstorableValueError, match="last"):
            await graph.ainvoke({}, thread_id="t", durability=durability)
        assert [info.status for info in await saver.list_threads()] == ["failed"]
        assert (await graph.aget_state(thread_id="t")).next == ("third",)
    broken = False
    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert result == {"log": names, "last": "fourth"}
    if durability != "async":
        assert calls == names
