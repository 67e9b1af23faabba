"""Several runs of one thread: sequential in a process, and a conflict between processes; no update is lost."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated, TypedDict

import pytest

from durable_graph import (
    START,
    CheckpointConflictError,
    Checkpointer,
    Durability,
    MemorySaver,
    StateGraph,
    ThreadBusyError,
)
from durable_graph_sqlite import SqliteSaver
from tests.runtime.processes import as_another_process


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def waiting(entered: asyncio.Event, gate: asyncio.Event) -> StateGraph[State]:
    async def wait(state: State) -> State:
        entered.set()
        await gate.wait()
        return {"log": ["done"]}

    builder = StateGraph(State)
    builder.add_node("wait", wait)
    builder.add_edge(START, "wait")
    return builder


async def test_a_second_call_on_a_busy_thread_is_refused(saver: Checkpointer) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()
    graph = waiting(entered, gate).compile(saver)
    first = asyncio.create_task(graph.ainvoke({"log": ["first"]}, thread_id="t"))
    await entered.wait()

    with pytest.raises(ThreadBusyError, match=r"'t'.*if_busy='wait'"):
        await graph.ainvoke({"log": ["second"]}, thread_id="t")

    gate.set()
    assert (await first)["log"] == ["first", "done"]


async def test_waiting_calls_run_in_the_order_in_which_they_were_made(
    saver: Checkpointer, durability: Durability
) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()
    graph = waiting(entered, gate).compile(saver)
    calls = [
        asyncio.create_task(graph.ainvoke({"log": [f"{n}"]}, thread_id="t", if_busy="wait", durability=durability))
        for n in range(5)
    ]
    gate.set()

    last = (await asyncio.gather(*calls))[-1]

    assert last["log"] == [word for n in range(5) for word in (f"{n}", "done")]


async def test_a_call_that_is_cancelled_while_it_waits_does_not_keep_the_thread_busy(saver: Checkpointer) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()
    graph = waiting(entered, gate).compile(saver)
    first = asyncio.create_task(graph.ainvoke({}, thread_id="t"))
    await entered.wait()
    second = asyncio.create_task(graph.ainvoke({}, thread_id="t", if_busy="wait"))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()

    assert (await first)["log"] == ["done"]
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["done", "done"]


async def test_a_run_that_loses_a_race_with_a_run_of_another_saver_raises_a_conflict(tmp_path: Path) -> None:
    """LangGraph (P1): both runs return success, and the effects of one of them are lost."""
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as first, SqliteSaver(path) as second:
        finished = StateGraph(State)
        finished.add_node("a", _log_a)
        finished.add_edge(START, "a")
        await finished.compile(first).ainvoke({"log": ["before"]}, thread_id="t")
        graphs = [finished.compile(saver) for saver in (first, second)]

        results = await asyncio.gather(
            *(graph.ainvoke({"log": [f"{n}"]}, thread_id="t") for n, graph in enumerate(graphs)), return_exceptions=True
        )
        final = (await graphs[0].aget_state(thread_id="t")).values["log"]

    errors = [result for result in results if isinstance(result, BaseException)]
    acknowledged = [result for result in results if not isinstance(result, BaseException)]
    for error in errors:
        assert isinstance(error, CheckpointConflictError)
        assert error.thread_id == "t"
        assert error.found >= error.expected
        assert "'t'" in str(error)
    for result in acknowledged:
        # All words of an acknowledged run are in the state, in their order.
        assert [word for word in final if word in result["log"]][: len(result["log"])] == result["log"]


async def _log_a(state: State) -> State:
    return {"log": ["a"]}


async def test_no_acknowledged_update_of_concurrent_savers_is_lost(tmp_path: Path) -> None:
    """Eight concurrent writers of one thread, each with a saver of its own."""
    path = tmp_path / "runs.db"
    acknowledged: list[str] = []
    conflicts = 0

    async def write(writer: int) -> None:
        nonlocal conflicts
        async with SqliteSaver(path) as saver:
            builder = StateGraph(State)
            builder.add_node("a", _log_a)
            builder.add_edge(START, "a")
            graph = builder.compile(saver)
            for turn in range(5):
                word = f"{writer}.{turn}"
                try:
                    await graph.ainvoke({"log": [word]}, thread_id="t")
                    acknowledged.append(word)
                except CheckpointConflictError:
                    conflicts += 1

    await asyncio.gather(*(write(writer) for writer in range(8)))

    async with SqliteSaver(path) as saver:
        builder = StateGraph(State)
        builder.add_node("a", _log_a)
        builder.add_edge(START, "a")
        final = (await builder.compile(saver).aget_state(thread_id="t")).values["log"]
    assert set(acknowledged) <= set(final)
    assert len(acknowledged) + conflicts == 40
    assert acknowledged
    assert all(final.count(word) == 1 for word in acknowledged)


async def test_a_stalled_run_cannot_commit_after_another_process_has_resumed_its_thread() -> None:
    """A run that stalls while another process resumes the thread cannot overwrite its checkpoints later."""
    store = MemorySaver()
    entered, gate = asyncio.Event(), asyncio.Event()
    zombie = asyncio.create_task(waiting(entered, gate).compile(store).ainvoke({"log": ["zombie"]}, thread_id="t"))
    await entered.wait()
    builder = StateGraph(State)
    builder.add_node("wait", _log_a)
    builder.add_edge(START, "wait")

    with as_another_process(store):
        result = await builder.compile(store).ainvoke(None, thread_id="t")
    gate.set()

    assert result["log"] == ["zombie", "a"]
    with pytest.raises(CheckpointConflictError, match="version 1, the thread is at 2"):
        await zombie
    assert (await builder.compile(store).aget_state(thread_id="t")).values == result
