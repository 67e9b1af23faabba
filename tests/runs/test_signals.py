"""Signals: messages that a run receives once each, in order, over suspensions and restarts."""

import asyncio
import random
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    InvalidOptionError,
    StateGraph,
    ThreadCancelledError,
    ThreadFinishedError,
    UnknownThreadError,
    interrupt,
    receive,
    task,
)
from durable_graph.runs import App, RunHandle
from durable_graph.testing import run_app
from tests.crash.conftest import IS_LONG, Echo

pytestmark = pytest.mark.every_store

RECEIVERS, ROUNDS = (200, 25) if IS_LONG else (40, 1)
SPREAD = 0.1
"""Seconds over which the signals of a receiver come, each."""


def joined(old: list[Any], new: list[Any]) -> list[Any]:
    return [*old, *new]


class State(TypedDict, total=False):
    got: Annotated[list[Any], joined]


def graph_of(**nodes: Any) -> CompiledGraph[Any, Any, Any, Any]:
    """A graph whose nodes run in parallel."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder.compile()


async def one(state: State) -> State:
    return {"got": [await receive("parcel")]}


async def three(state: State) -> State:
    return {"got": [await receive("parcel") for _ in range(3)]}


async def state_of(handle: RunHandle) -> str:
    return (await handle.status()).state


async def test_a_waiting_run_receives_a_signal_and_continues(saver: Checkpointer) -> None:
    app = App({"order": graph_of(one=one)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        assert await state_of(handle) == "waiting"
        assert await app.signal("t", "parcel", {"no": "X1"})
        assert await handle.result(20) == {"got": [{"no": "X1"}]}


async def test_signals_that_nobody_waits_for_yet_are_kept_in_their_order(saver: Checkpointer) -> None:
    app = App({"order": graph_of(three=three)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    for number in range(3):
        await app.signal("t", "parcel", number)
    async with run_app(app):
        assert await handle.result(20) == {"got": [0, 1, 2]}


async def test_a_signal_with_a_known_key_is_sent_once(saver: Checkpointer) -> None:
    app = App({"order": graph_of(three=three)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        for number in (1, 1, 2, 1, 2):
            await app.signal("t", "parcel", number, key=f"webhook-{number}")
            await running.settle()
        # A key stays known after its message was taken.
        assert not await app.signal("t", "parcel", 1, key="webhook-1")
        assert await state_of(handle) == "waiting"
        assert await app.signal("t", "parcel", 3, key="webhook-3")
        assert await handle.result(20) == {"got": [1, 2, 3]}


async def test_topics_are_told_apart(saver: Checkpointer) -> None:
    async def both(state: State) -> State:
        return {"got": [await receive("b"), await receive("a")]}

    app = App({"order": graph_of(both=both)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await app.signal("t", "a", 1)
        await running.settle()
        assert await state_of(handle) == "waiting"
        await app.signal("t", "b", 2)
        assert await handle.result(20) == {"got": [2, 1]}


async def test_parallel_nodes_receive_different_messages(saver: Checkpointer) -> None:
    app = App({"order": graph_of(first=one, second=one)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        await app.signal("t", "parcel", 1)
        await app.signal("t", "parcel", 2)
        result = await handle.result(20)
    assert sorted(result["got"]) == [1, 2]


async def test_a_signal_is_accepted_while_the_run_is_in_progress(saver: Checkpointer) -> None:
    began, end = asyncio.Event(), asyncio.Event()

    async def slow(state: State) -> State:
        began.set()
        await end.wait()
        return {}

    app = App({"order": graph_of(one=one, slow=slow)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with app.worker():
        await began.wait()
        await app.signal("t", "parcel", 1)
        end.set()
        assert await handle.result(20) == {"got": [1]}


async def test_tasks_and_nested_graphs_receive_signals(saver: Checkpointer) -> None:
    @task
    async def fetch() -> Any:
        return await receive("parcel")

    async def outer(state: State) -> State:
        return {"got": [await fetch()]}

    app = App({"task": graph_of(outer=outer), "nested": graph_of(inner=graph_of(one=one))}, saver)
    for name in ("task", "nested"):
        handle = await app.start(name, {}, thread_id=name)
        async with run_app(app) as running:
            await running.settle()
            await app.signal(name, "parcel", 7)
            assert await handle.result(20) == {"got": [7]}


async def test_a_message_for_a_blocked_run_is_received_once_the_run_begins(saver: Checkpointer) -> None:
    async def ask(state: State) -> State:
        return {"got": [interrupt("ok?")]}

    app = App({"order": graph_of(ask=ask, one=one)}, saver)
    first = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        await app.signal("t", "parcel", 1)
        await running.settle()
        second = await app.start("order", {}, thread_id="t")
        await app.signal("t", "parcel", 2)
        await app.answer("t", "yes")
        await first.result(20)
        await running.settle()
        await app.answer("t", "again")
        result = await second.result(20)
    assert sorted(map(str, result["got"])) == ["1", "2", "again", "yes"]


async def test_a_receive_whose_time_is_over_returns_its_default(saver: Checkpointer) -> None:
    async def node(state: State) -> State:
        return {"got": [await receive("parcel", timeout=timedelta(days=14), default="lost")]}

    app = App({"order": graph_of(node=node)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        await running.move(timedelta(days=14, minutes=1))
        assert await handle.result(20) == {"got": ["lost"]}


async def test_an_answer_reaches_the_question_and_a_signal_the_receiver(saver: Checkpointer) -> None:
    async def ask(state: State) -> State:
        return {"got": [interrupt("ok?")]}

    app = App({"order": graph_of(ask=ask, one=one)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        await app.answer("t", "yes")
        await running.settle()
        assert await state_of(handle) == "waiting"
        await app.signal("t", "parcel", 1)
        result = await handle.result(20)
    assert sorted(map(str, result["got"])) == ["1", "yes"]


async def test_threads_without_an_unfinished_run_take_no_signal(saver: Checkpointer) -> None:
    app = App({"order": graph_of(one=one)}, saver)
    with pytest.raises(UnknownThreadError):
        await app.signal("t", "parcel", 1)
    handle = await app.start("order", {}, thread_id="t")
    await handle.cancel()
    with pytest.raises(ThreadCancelledError):
        await app.signal("t", "parcel", 1)
    done = await app.start("order", {}, thread_id="u")
    async with run_app(app):
        await app.signal("u", "parcel", 1)
        await done.result(20)
        with pytest.raises(ThreadFinishedError):
            await app.signal("u", "parcel", 1)
    with pytest.raises(InvalidOptionError, match="topic"):
        await app.signal("u", "", 1)


@pytest.mark.slow
async def test_many_receivers_get_each_of_many_repeated_signals_once(saver: Checkpointer, echo: Echo) -> None:
    app = App({"order": graph_of(three=three)}, saver)
    chance = random.Random(20_26)

    async def signal(thread: str, number: int, longest: float) -> bool:
        await asyncio.sleep(chance.uniform(0, longest))
        return await app.signal(thread, "parcel", number, key=str(number))

    async def send(thread: str) -> None:
        """Each signal before the run is claimed, while it is executed, or while it waits; each once more afterwards."""
        repeated: list[asyncio.Task[bool]] = []
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                assert await signal(thread, number, SPREAD)
                repeated.append(group.create_task(signal(thread, number, 3 * SPREAD)))
        assert not any(each.result() for each in repeated)

    async with app.worker(concurrency=RECEIVERS // 2):
        for round_number in range(ROUNDS):
            threads = [f"t{round_number}-{number}" for number in range(RECEIVERS)]
            handles = [await app.start("order", {}, thread_id=thread) for thread in threads]
            await asyncio.gather(*map(send, threads))
            results = await asyncio.gather(*(each.result(60) for each in handles))
            assert results == [{"got": [0, 1, 2]}] * RECEIVERS
            left = [await app.store.inbox(thread, ["parcel"]) for thread in threads]
            assert left == [[]] * RECEIVERS
    echo(f"{ROUNDS} rounds, {RECEIVERS} receivers, {3 * RECEIVERS} signals, each sent twice: 0 wrong, 0 left over")
