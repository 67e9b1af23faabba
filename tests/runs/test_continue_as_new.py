"""`ContinueAsNew`: a workflow that goes on for ever in one run with a bounded history; endless graphs likewise."""

import asyncio
import sys
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    ContinueAsNew,
    InvalidCallError,
    InvalidOptionError,
    StateGraph,
    entrypoint,
    interrupt,
    receive,
    start_child,
    task,
)
from durable_graph.checkpointing import Transferable
from durable_graph.errors import RunFailedError
from durable_graph.runs import App
from durable_graph.testing import run_app

pytestmark = pytest.mark.every_store


@task
async def double(number: int) -> int:
    return 2 * number


@entrypoint()
async def counting(number: int) -> int | ContinueAsNew:
    await double(number)
    return ContinueAsNew(number - 1) if number else 42


async def rows_of(saver: Checkpointer, thread: str) -> int:
    """The number of stored rows of the thread."""
    assert isinstance(saver, Transferable)
    exported = await saver.export_thread(thread)
    assert exported is not None
    return sum(len(exported.tables[table]) for table in ("checkpoints", "channel_rows", "tasks"))


async def test_a_run_continues_as_new_until_it_returns(saver: Checkpointer) -> None:
    app = App({"counting": counting}, saver)
    handle = await app.start("counting", 5, thread_id="t")
    async with run_app(app):
        assert await handle.result(20) == 42
    assert len(await app.runs()) == 1


async def test_the_history_of_a_workflow_that_continues_is_bounded(saver: Checkpointer) -> None:
    app = App({"counting": counting}, saver)
    sizes = []
    for number in (3, 30):
        handle = await app.start("counting", number, thread_id=f"t{number}")
        async with run_app(app) as running:
            await handle.result(30)
            await running.settle()
        sizes.append(await rows_of(saver, f"t{number}"))
    assert max(sizes) <= 30


async def test_a_plain_call_repeats_the_workflow_in_the_same_call(saver: Checkpointer) -> None:
    app = App({"counting": counting}, saver)
    graph = app.graph("counting")
    assert await graph.ainvoke(3, thread_id="t") == 42
    assert await counting.ainvoke(3) == 42
    assert await graph.ainvoke(2, thread_id="t") == 42
    assert [chunk async for chunk in graph.astream(2, thread_id="t2")][-1] == {"counting": 42}


async def test_a_workflow_with_questions_continues_as_new(saver: Checkpointer) -> None:
    @entrypoint()
    async def asking(log: list[Any]) -> Any:
        answer = interrupt("next?")
        if answer == "end":
            return [*log, await receive("last")]
        return ContinueAsNew([*log, answer])

    app = App({"asking": asking}, saver)
    handle = await app.start("asking", [], thread_id="t")
    async with run_app(app) as running:
        for answer in ("a", "b", "end"):
            await running.settle()
            await app.answer("t", answer)
        await running.settle()
        await app.signal("t", "last", "z")
        assert await handle.result(20) == ["a", "b", "z"]


async def test_previous_stays_while_a_workflow_continues(saver: Checkpointer) -> None:
    @entrypoint()
    async def adding(number: int, *, previous: Any = None) -> Any:
        if number > 10:
            return ContinueAsNew(number - 10)
        return entrypoint.final(value=[number, previous], save=number)

    app = App({"adding": adding}, saver)
    async with run_app(app):
        first = await app.start("adding", 21, thread_id="t")
        assert await first.result(20) == [1, None]
        second = await app.start("adding", 15, thread_id="t")
        assert await second.result(20) == [5, 1]


async def test_a_run_that_is_cancelled_does_not_continue(saver: Checkpointer) -> None:
    @entrypoint()
    async def forever(number: int) -> Any:
        return ContinueAsNew(number + 1)

    app = App({"forever": forever}, saver)
    handle = await app.start("forever", 0, thread_id="t")
    async with run_app(app):
        with pytest.raises(RunFailedError, match="enough"):
            await (await _cancelled(handle)).result(20)


async def _cancelled(handle: Any) -> Any:
    await handle.cancel("enough", wait=True)
    return handle


async def test_an_input_that_cannot_be_stored_fails_the_run(saver: Checkpointer) -> None:
    @entrypoint()
    async def wrong(number: int) -> Any:
        return ContinueAsNew(object())

    app = App({"wrong": wrong}, saver)
    handle = await app.start("wrong", 0, thread_id="t")
    async with run_app(app):
        with pytest.raises(RunFailedError, match="UnstorableValueError"):
            await handle.result(20)


async def test_a_follower_follows_a_run_that_continues_to_its_end(saver: Checkpointer) -> None:
    app = App({"counting": counting}, saver)
    handle = await app.start("counting", 3, thread_id="t")
    ids: list[int] = []
    async with run_app(app), asyncio.timeout(20):
        ids += [event.id async for event in handle.events()]
    assert ids == sorted(set(ids))
    assert await handle.result(1) == 42


async def test_only_the_outermost_workflow_continues_as_new(saver: Checkpointer) -> None:
    class State(TypedDict, total=False):
        log: list[Any]

    async def call(state: State) -> State:
        with pytest.raises(InvalidCallError, match="returned ContinueAsNew") as caught:
            await counting.ainvoke(1)
        return {"log": [caught.value.kind]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("call", call)
    builder.add_edge(START, "call")
    app = App({"outer": builder.compile()}, saver)
    handle = await app.start("outer", {}, thread_id="t")
    async with run_app(app):
        assert await handle.result(20) == {"log": ["continuation"]}


async def test_a_child_that_continues_as_new_ends_once(saver: Checkpointer) -> None:
    @entrypoint()
    async def parent(number: int) -> Any:
        child = await start_child("counting", number)
        return await child.result()

    app = App({"parent": parent, "counting": counting}, saver)
    handle = await app.start("parent", 4, thread_id="t")
    async with run_app(app):
        assert await handle.result(20) == 42


def joined(old: int, new: int) -> int:
    return old + new


class Count(TypedDict, total=False):
    ticks: Annotated[int, joined]


def endless(limit: int) -> CompiledGraph[Any, Any, Any, Any]:
    """A loop that ends after so many supersteps, for the test."""

    async def tick(state: Count) -> Count:
        return {"ticks": 1}

    def again(state: Count) -> str:
        return "tick" if state.get("ticks", 0) < limit else "__end__"

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Count)
    builder.add_node("tick", tick)
    builder.add_edge(START, "tick")
    builder.add_conditional_edges("tick", again, ["tick", "__end__"])
    return builder.compile()


async def test_an_endless_graph_has_a_bounded_number_of_rows(saver: Checkpointer) -> None:
    app = App({"loop": endless(120)}, saver, keep_checkpoints=5)
    handle = await app.start("loop", {"ticks": 0}, thread_id="t", recursion_limit=sys.maxsize)
    async with run_app(app) as running:
        assert await handle.result(60) == {"ticks": 120}
        await running.settle()
    history = [each async for each in app.graph("loop").aget_state_history({"configurable": {"thread_id": "t"}})]
    assert len(history) <= 12
    assert await rows_of(saver, "t") <= 3 * 12 + 10


async def test_without_a_limit_the_history_stays(saver: Checkpointer) -> None:
    app = App({"loop": endless(20)}, saver)
    handle = await app.start("loop", {"ticks": 0}, thread_id="t")
    async with run_app(app):
        await handle.result(60)
    history = [each async for each in app.graph("loop").aget_state_history({"configurable": {"thread_id": "t"}})]
    assert len(history) > 20


@pytest.mark.parametrize("keep", [0, -1, 1.5, True, "ten"])
async def test_a_wrong_number_of_checkpoints_is_refused(saver: Checkpointer, keep: Any) -> None:
    with pytest.raises(InvalidOptionError, match="keep_checkpoints"):
        App({"loop": endless(1)}, saver, keep_checkpoints=keep)


async def test_a_run_of_a_queue_with_limits_continues_as_new(saver: Checkpointer) -> None:
    app = App({"counting": counting}, saver)
    app.queue("one", concurrency=1, per_key=1)
    async with run_app(app):
        handles = [
            await app.start("counting", 3, thread_id=f"t{number}", queue="one", limit_key="k") for number in range(3)
        ]
        assert [await handle.result(30) for handle in handles] == [42, 42, 42]
