"""A run that ended early resumes exactly where it stopped."""

import asyncio
import operator
from collections import Counter
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    CheckpointConflictError,
    Checkpointer,
    Durability,
    GraphChangedError,
    NothingToResumeError,
    ReducerError,
    Runtime,
    Send,
    StateGraph,
    UnfinishedThreadError,
    UnknownNameError,
    UnstorableValueError,
)
from tests.errors.kinds import of_kind
from tests.runtime.processes import as_another_process

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Flaky:
    """Nodes that count their calls, and fail while their names are in `failing`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.ids: dict[str, set[str]] = {}
        self.failing: set[str] = set()

    def node(self, name: str, *, after: asyncio.Event | None = None) -> Any:
        async def run(state: State, runtime: Runtime) -> State:
            self.calls[name] += 1
            self.ids.setdefault(name, set()).add(runtime.execution_info.task_id)
            if after is not None:
                await after.wait()
            if name in self.failing:
                message = f"{name} failed"
                raise ValueError(message)
            return {"log": [name]}

        return run


def fan_out(flaky: Flaky, *, after: asyncio.Event | None = None) -> StateGraph[State]:
    """a, b and c in parallel, then d. c awaits `after`, if given."""
    builder = StateGraph(State)
    for name in "abd":
        builder.add_node(name, flaky.node(name))
    builder.add_node("c", flaky.node("c", after=after))
    for name in "abc":
        builder.add_edge(START, name)
    builder.add_edge(["a", "b", "c"], "d")
    return builder


async def until_recorded(graph: Any, *names: str) -> None:
    """Wait until the store has the results of these nodes."""
    while True:
        snapshot = await graph.aget_state(thread_id="t")
        if {task.name for task in snapshot.tasks if task.result is not None} >= set(names):
            return
        await asyncio.sleep(0)


async def test_a_failed_node_runs_again_and_its_finished_siblings_do_not(
    saver: Checkpointer, durability: Durability
) -> None:
    flaky = Flaky()
    flaky.failing = {"c"}
    graph = fan_out(flaky).compile(saver)

    with pytest.raises(ValueError, match="c failed") as raised:
        await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    note = "\n".join(raised.value.__notes__)
    assert "node 'c'" in note
    assert "superstep 1" in note
    assert "thread 't'" in note
    flaky.failing = set()
    assert (await graph.ainvoke(None, thread_id="t", durability=durability))["log"] == ["in", "a", "b", "c", "d"]
    assert flaky.calls == {"a": 1, "b": 1, "c": 2, "d": 1}
    assert len(flaky.ids["c"]) == 1


async def test_a_snapshot_of_a_failed_thread_shows_the_result_or_the_error_of_each_task(saver: Checkpointer) -> None:
    flaky = Flaky()
    flaky.failing = {"c"}
    graph = fan_out(flaky).compile(saver)
    with pytest.raises(ValueError, match="c failed"):
        await graph.ainvoke({}, thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert snapshot.values == {"log": ["a", "b"]}
    assert snapshot.next == ("c",)
    assert [(task.name, task.error, task.result) for task in snapshot.tasks] == [
        ("a", None, {"log": ["a"]}),
        ("b", None, {"log": ["b"]}),
        ("c", "ValueError('c failed')", None),
    ]
    assert [info.thread for info in await saver.list_threads(status="failed")] == ["t"]


async def test_attempts_are_counted_across_resumes(saver: Checkpointer) -> None:
    attempts: list[int] = []

    async def node(state: State, runtime: Runtime) -> None:
        attempts.append(runtime.execution_info.node_attempt)
        if len(attempts) < 3:
            raise ConnectionError

    builder = StateGraph(State)
    builder.add_node("a", node)
    builder.add_edge(START, "a")
    graph = builder.compile(saver)

    first: dict[str, Any] = {}
    for given in (first, None):
        with pytest.raises(ConnectionError):
            await graph.ainvoke(given, thread_id="t")
    await graph.ainvoke(None, thread_id="t")

    assert attempts == [1, 2, 3]


async def test_other_failures_of_a_superstep_are_notes_of_the_first_failure(saver: Checkpointer) -> None:
    waiting: list[str] = []
    at_once = asyncio.Event()

    async def node(state: State, runtime: Runtime) -> None:
        waiting.append(runtime.execution_info.node)
        if len(waiting) == 2:
            asyncio.get_running_loop().call_soon(at_once.set)
        await at_once.wait()
        raise ValueError(runtime.execution_info.node)

    builder = StateGraph(State)
    for name in "ab":
        builder.add_node(name, node)
        builder.add_edge(START, name)

    with pytest.raises(ValueError, match=r"^a") as raised:
        await builder.compile(saver).ainvoke({}, thread_id="t")

    assert any("node 'b' failed as well: ValueError('b')" in note for note in raised.value.__notes__)


async def test_a_failed_router_runs_again_without_its_node(saver: Checkpointer, durability: Durability) -> None:
    flaky = Flaky()
    answers = iter(["nowhere", "b"])
    builder = StateGraph(State)
    builder.add_node("a", flaky.node("a"))
    builder.add_node("b", flaky.node("b"))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda _: next(answers))
    graph = builder.compile(saver)

    with pytest.raises(UnknownNameError, check=of_kind("route"), match="'nowhere'; the graph has: a, b"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["a"]}
    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert result["log"] == ["a", "b"]
    assert flaky.calls == {"a": 1, "b": 1}


async def test_a_reducer_that_failed_can_be_corrected_and_no_node_runs_again(saver: Checkpointer) -> None:
    flaky = Flaky()

    def compiled(reducer: Any) -> Any:
        class Strict(TypedDict, total=False):
            log: Annotated[list[str], reducer]

        async def node(state: Strict) -> dict[str, list[str]]:
            flaky.calls["a"] += 1
            return {"log": ["a"]}

        builder = StateGraph(Strict)
        builder.add_node("a", node)
        builder.add_edge(START, "a")
        return builder.compile(saver)

    def broken(left: list[str], right: list[str]) -> list[str]:
        raise KeyError("oops")

    def corrected(left: list[str], right: list[str]) -> list[str]:
        return left + right

    with pytest.raises(ReducerError, match="'log'"):
        await compiled(broken).ainvoke({}, thread_id="t")
    assert await compiled(corrected).ainvoke(None, thread_id="t") == {"log": ["a"]}
    assert flaky.calls == {"a": 1}


@pytest.mark.parametrize("nodes", ["a", "ab"])
async def test_a_reducer_with_a_result_that_cannot_be_stored_can_be_corrected_and_no_node_runs_again(
    saver: Checkpointer, nodes: str
) -> None:
    flaky = Flaky()

    def compiled(reducer: Any) -> Any:
        class Merging(TypedDict, total=False):
            log: Annotated[Any, reducer]

        async def node(state: Merging, runtime: Runtime) -> dict[str, list[str]]:
            flaky.calls[runtime.execution_info.node] += 1
            return {"log": [runtime.execution_info.node]}

        builder = StateGraph(Merging)
        for name in nodes:
            builder.add_node(name, node)
            builder.add_edge(START, name)
        return builder.compile(saver)

    def broken(left: list[str], right: list[str]) -> Any:
        return object()

    def corrected(left: list[str], right: list[str]) -> list[str]:
        return left + right

    with pytest.raises(UnstorableValueError, match="'log' is an object"):
        await compiled(broken).ainvoke({"log": []}, thread_id="t")
    assert [thread.status for thread in await saver.list_threads()] == ["failed"]
    assert await compiled(corrected).ainvoke(None, thread_id="t") == {"log": list(nodes)}
    assert flaky.calls == dict.fromkeys(nodes, 1)


async def test_a_stored_plan_with_a_removed_node_is_an_error_and_no_result_is_lost(saver: Checkpointer) -> None:
    flaky = Flaky()
    flaky.failing = {"c"}
    graph = fan_out(flaky).compile(saver)
    with pytest.raises(ValueError, match="c failed"):
        await graph.ainvoke({}, thread_id="t")
    smaller = StateGraph(State)
    smaller.add_node("a", flaky.node("a"))
    smaller.add_edge(START, "a")

    with pytest.raises(GraphChangedError, check=of_kind("node"), match=r"'t'.*'b'.*the graph has: a") as raised:
        await smaller.compile(saver).ainvoke(None, thread_id="t")

    assert raised.value.known == ("a",)
    flaky.failing = set()
    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["a", "b", "c", "d"]


async def test_resuming_a_finished_thread_or_a_new_thread_is_refused(saver: Checkpointer) -> None:
    graph = fan_out(Flaky()).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(NothingToResumeError, match="'t' has nothing to resume: its run is finished"):
        await graph.ainvoke(None, thread_id="t")
    with pytest.raises(NothingToResumeError, match="'new' has nothing to resume: it has no checkpoint"):
        await graph.ainvoke(None, thread_id="new")


# New input on an unfinished thread


async def test_new_input_supersedes_unfinished_tasks_and_keeps_finished_results(saver: Checkpointer) -> None:
    flaky = Flaky()
    flaky.failing = {"c"}
    graph = fan_out(flaky).compile(saver)
    with pytest.raises(ValueError, match="c failed"):
        await graph.ainvoke({"log": ["one"]}, thread_id="t")
    flaky.failing = set()

    result = await graph.ainvoke({"log": ["two"]}, thread_id="t")

    assert result["log"] == ["one", "a", "b", "two", "a", "b", "c", "d"]
    history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]
    accepted = next(snapshot for snapshot in history if snapshot.superseded)
    assert [(task.name, task.outcome, task.error) for task in accepted.superseded] == [
        ("c", "failed", "ValueError('c failed')")
    ]
    failed = next(task for task in history[-1].tasks if task.name == "c")
    assert accepted.superseded[0].id == failed.id


async def test_superseded_sends_have_the_task_ids_with_which_they_ran(saver: Checkpointer) -> None:
    flaky = Flaky()
    flaky.failing = {"work"}
    builder = StateGraph(State)
    builder.add_node("work", flaky.node("work"))
    builder.add_conditional_edges(START, lambda _: [Send("work", {})], ["work"])
    graph = builder.compile(saver)
    with pytest.raises(ValueError, match="work failed"):
        await graph.ainvoke({}, thread_id="t")
    flaky.failing = set()
    first = set(flaky.ids["work"])

    await graph.ainvoke({}, thread_id="t")

    history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]
    assert {task.id for snapshot in history for task in snapshot.superseded} == first


async def test_if_unfinished_resume_finishes_the_run_before_the_input_is_applied(saver: Checkpointer) -> None:
    flaky = Flaky()
    flaky.failing = {"c"}
    graph = fan_out(flaky).compile(saver)
    with pytest.raises(ValueError, match="c failed"):
        await graph.ainvoke({"log": ["one"]}, thread_id="t")
    flaky.failing = set()

    result = await graph.ainvoke({"log": ["two"]}, thread_id="t", if_unfinished="resume")

    assert result["log"] == ["one", "a", "b", "c", "d", "two", "a", "b", "c", "d"]


async def test_if_unfinished_reject_raises_an_error_that_names_the_pending_nodes(saver: Checkpointer) -> None:
    flaky = Flaky()
    flaky.failing = {"c"}
    graph = fan_out(flaky).compile(saver)
    with pytest.raises(ValueError, match="c failed"):
        await graph.ainvoke({}, thread_id="t")

    with pytest.raises(UnfinishedThreadError, match="'t' still has to run: c") as raised:
        await graph.ainvoke({}, thread_id="t", if_unfinished="reject")

    assert raised.value.pending == ("c",)
    assert (await graph.aget_state(thread_id="t")).next == ("c",)


async def test_results_recorded_by_another_process_are_adopted(saver: Checkpointer) -> None:
    """Two runs at one head: the results that the first recorded stand, and the second continues with them."""
    gate = asyncio.Event()
    entered = asyncio.Event()
    first, second = Flaky(), Flaky()

    async def slow(state: State) -> State:
        entered.set()
        await gate.wait()
        return {"log": ["c of the first"]}

    def compiled(flaky: Flaky, c: Any) -> Any:
        builder = StateGraph(State)
        for name in "ab":
            builder.add_node(name, flaky.node(name))
            builder.add_edge(START, name)
        builder.add_node("c", c)
        builder.add_edge(START, "c")
        return builder.compile(saver)

    one = compiled(first, slow)
    running = asyncio.create_task(one.ainvoke({}, thread_id="t"))
    await entered.wait()
    await until_recorded(one, "a", "b")
    two = compiled(second, second.node("c"))

    with as_another_process(saver):
        result = await two.ainvoke(None, thread_id="t")
    gate.set()

    assert result["log"] == ["a", "b", "c"]
    assert second.calls == {"c": 1}
    with pytest.raises(CheckpointConflictError, match="extended by another writer"):
        await running
    assert (await two.aget_state(thread_id="t")).values["log"] == ["a", "b", "c"]
