"""A thread is cancelled for good, from any process, and goes on only when it is reopened."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    StateGraph,
    ThreadCancelledError,
    UnknownThreadError,
    interrupt,
)
from durable_graph._runtime.commit.busy import cancel_call, only_run


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Work:
    """`first` and then `second`; `slow` beside `first` waits until it may go on."""

    def __init__(self, saver: Checkpointer) -> None:
        self.began: list[str] = []
        self.waits = asyncio.Event()
        self.may_go_on = asyncio.Event()

        async def first(state: State) -> dict[str, list[str]]:
            self.began.append("first")
            return {"log": ["first"]}

        async def slow(state: State) -> dict[str, list[str]]:
            self.began.append("slow")
            self.waits.set()
            await self.may_go_on.wait()
            return {"log": ["slow"]}

        async def second(state: State) -> dict[str, list[str]]:
            self.began.append("second")
            return {"log": ["second"]}

        builder = StateGraph(State).add_node("first", first).add_node("slow", slow).add_node("second", second)
        builder.add_edge(START, "first").add_edge(START, "slow").add_edge(["first", "slow"], "second")
        self.graph: CompiledGraph[Any] = builder.compile(saver)


async def test_a_run_of_this_process_is_stopped_at_once_and_its_caller_is_told(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()

    assert await work.graph.acancel("t")
    with pytest.raises(ThreadCancelledError):
        await call

    assert not call.cancelled()
    assert [info.thread for info in await saver.list_threads(status="cancelled")] == ["t"]
    assert await saver.list_threads(status="running") == []
    snapshot = await work.graph.aget_state(thread_id="t")
    assert (snapshot.status, snapshot.next) == ("cancelled", ("slow",))
    for given in (None, Command(resume="yes")):
        with pytest.raises(ThreadCancelledError):
            await work.graph.ainvoke(given, thread_id="t")


async def test_what_finished_is_kept_when_it_is_reopened(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    await work.graph.acancel("t")
    with pytest.raises(ThreadCancelledError):
        await call

    work.may_go_on.set()
    assert await work.graph.areopen("t")
    assert not await work.graph.areopen("t")
    assert await work.graph.ainvoke(None, thread_id="t") == {"log": ["in", "first", "slow", "second"]}
    assert work.began == ["first", "slow", "slow", "second"]


async def test_a_run_elsewhere_finds_the_mark_and_begins_no_superstep(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in another process: nobody here can stop the call.
    monkeypatch.setattr("durable_graph._runtime.threads.cancel_thread.cancel_call", lambda saver, thread: None)
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()

    assert await work.graph.acancel("t")
    work.may_go_on.set()
    with pytest.raises(ThreadCancelledError):
        await call

    snapshot = await work.graph.aget_state(thread_id="t")
    assert work.began == ["first", "slow"]
    assert (snapshot.status, snapshot.next) == ("cancelled", ("second",))
    assert await work.graph.areopen("t")
    assert await work.graph.ainvoke(None, thread_id="t") == {"log": ["in", "first", "slow", "second"]}
    assert work.began.count("first") == work.began.count("slow") == 1


async def test_a_run_that_stores_at_its_end_alone_finds_the_mark_there(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_graph._runtime.threads.cancel_thread.cancel_call", lambda saver, thread: None)
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t", durability="exit"))
    await work.waits.wait()

    assert await work.graph.acancel("t")
    work.may_go_on.set()

    # By then nothing is left to be cancelled.
    assert await call == {"log": ["in", "first", "slow", "second"]}
    assert (await work.graph.aget_state(thread_id="t")).status == "done"


async def test_a_thread_that_nobody_executes_is_cancelled(saver: Checkpointer) -> None:
    def ask(state: State) -> dict[str, list[str]]:
        return {"log": [interrupt("go?")]}

    graph = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    assert await graph.acancel("t")
    assert await graph.acancel("t")

    with pytest.raises(ThreadCancelledError):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")
    assert await graph.areopen("t")
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["in", "yes"]}


async def test_new_input_takes_the_place_of_what_was_cancelled(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    await work.graph.acancel("t")
    with pytest.raises(ThreadCancelledError):
        await call

    work.may_go_on.set()
    values = await work.graph.ainvoke({"log": ["new"]}, thread_id="t")
    assert values["log"][-4:] == ["new", "first", "slow", "second"]
    assert await saver.list_threads(status="cancelled") == []


async def test_an_edit_leaves_a_cancelled_thread_cancelled(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    await work.graph.acancel("t")
    with pytest.raises(ThreadCancelledError):
        await call

    await work.graph.aupdate_state(values={"log": ["note"]}, as_node=START, thread_id="t")
    assert (await work.graph.aget_state(thread_id="t")).status == "cancelled"


async def test_what_is_finished_cannot_be_cancelled(saver: Checkpointer) -> None:
    work = Work(saver)
    work.may_go_on.set()
    await work.graph.ainvoke({"log": ["in"]}, thread_id="t")
    assert not await work.graph.acancel("t")
    assert (await work.graph.aget_state(thread_id="t")).status == "done"
    for call in (work.graph.acancel, work.graph.areopen):
        with pytest.raises(UnknownThreadError):
            await call("nobody")


async def test_a_caller_that_cancels_its_own_call_is_cancelled(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await work.graph.aget_state(thread_id="t")).status == "running"


async def test_a_stream_of_a_cancelled_thread_raises(saver: Checkpointer) -> None:
    work = Work(saver)

    async def read() -> list[Any]:
        return [chunk async for chunk in work.graph.astream({"log": ["in"]}, thread_id="t")]

    reading = asyncio.create_task(read())
    await work.waits.wait()
    assert await work.graph.acancel("t")
    with pytest.raises(ThreadCancelledError):
        await reading


async def test_a_call_that_ends_before_it_can_be_stopped_leaves_its_caller_alone(saver: Checkpointer) -> None:
    """The mark was found, or the last result was recorded, at the same moment: what the caller does next is not hit."""
    runner = asyncio.current_task()
    assert runner is not None
    async with only_run(saver, "t", None):
        asyncio.get_running_loop().call_soon(cancel_call, saver, "t")
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert runner.cancelling() == 0


async def test_a_caller_that_is_cancelled_as_well_is_cancelled(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    assert await work.graph.acancel("t")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await work.graph.aget_state(thread_id="t")).status == "cancelled"
