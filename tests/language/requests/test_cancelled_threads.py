"""A thread is cancelled from any process, and continues only after it is reopened."""

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
    """A graph of `first`, then `second`; `slow` runs in parallel with `first`, and waits for `may_continue`."""

    def __init__(self, saver: Checkpointer) -> None:
        self.began: list[str] = []
        self.waits = asyncio.Event()
        self.may_continue = asyncio.Event()

        async def first(state: State) -> dict[str, list[str]]:
            self.began.append("first")
            return {"log": ["first"]}

        async def slow(state: State) -> dict[str, list[str]]:
            self.began.append("slow")
            self.waits.set()
            await self.may_continue.wait()
            return {"log": ["slow"]}

        async def second(state: State) -> dict[str, list[str]]:
            self.began.append("second")
            return {"log": ["second"]}

        builder = StateGraph(State).add_node("first", first).add_node("slow", slow).add_node("second", second)
        builder.add_edge(START, "first").add_edge(START, "slow").add_edge(["first", "slow"], "second")
        self.graph: CompiledGraph[Any] = builder.compile(saver)


async def test_a_run_in_this_process_is_stopped_and_its_caller_gets_a_thread_cancelled_error(
    saver: Checkpointer,
) -> None:
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


async def test_results_of_finished_nodes_are_kept_when_a_cancelled_thread_is_reopened(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    await work.graph.acancel("t")
    with pytest.raises(ThreadCancelledError):
        await call

    work.may_continue.set()
    assert await work.graph.areopen("t")
    assert not await work.graph.areopen("t")
    assert await work.graph.ainvoke(None, thread_id="t") == {"log": ["in", "first", "slow", "second"]}
    assert work.began == ["first", "slow", "slow", "second"]


async def test_a_run_in_another_process_starts_no_superstep_after_the_cancellation(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the run were in another process: the call cannot be stopped from here.
    monkeypatch.setattr("durable_graph._runtime.threads.cancel_thread.cancel_call", lambda saver, thread: None)
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()

    assert await work.graph.acancel("t")
    work.may_continue.set()
    with pytest.raises(ThreadCancelledError):
        await call

    snapshot = await work.graph.aget_state(thread_id="t")
    assert work.began == ["first", "slow"]
    assert (snapshot.status, snapshot.next) == ("cancelled", ("second",))
    assert await work.graph.areopen("t")
    assert await work.graph.ainvoke(None, thread_id="t") == {"log": ["in", "first", "slow", "second"]}
    assert work.began.count("first") == work.began.count("slow") == 1


async def test_a_run_in_another_process_in_exit_mode_finishes_despite_the_cancellation(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_graph._runtime.threads.cancel_thread.cancel_call", lambda saver, thread: None)
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t", durability="exit"))
    await work.waits.wait()

    assert await work.graph.acancel("t")
    work.may_continue.set()

    # The run stores its state at its end only, when nothing is left to cancel.
    assert await call == {"log": ["in", "first", "slow", "second"]}
    assert (await work.graph.aget_state(thread_id="t")).status == "done"


async def test_a_thread_without_an_active_run_can_be_cancelled(saver: Checkpointer) -> None:
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


async def test_new_input_supersedes_the_cancelled_run(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    await work.graph.acancel("t")
    with pytest.raises(ThreadCancelledError):
        await call

    work.may_continue.set()
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


async def test_a_finished_or_unknown_thread_cannot_be_cancelled(saver: Checkpointer) -> None:
    work = Work(saver)
    work.may_continue.set()
    await work.graph.ainvoke({"log": ["in"]}, thread_id="t")
    assert not await work.graph.acancel("t")
    assert (await work.graph.aget_state(thread_id="t")).status == "done"
    for call in (work.graph.acancel, work.graph.areopen):
        with pytest.raises(UnknownThreadError):
            await call("nobody")


async def test_a_cancelled_call_does_not_cancel_its_thread(saver: Checkpointer) -> None:
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


async def test_a_call_that_ends_before_it_can_be_stopped_does_not_cancel_its_caller(saver: Checkpointer) -> None:
    """The run found the cancellation, or recorded its last result, at that moment: a later await is not cancelled."""
    runner = asyncio.current_task()
    assert runner is not None
    async with only_run(saver, "t", None):
        asyncio.get_running_loop().call_soon(cancel_call, saver, "t")
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert runner.cancelling() == 0


async def test_a_cancelled_call_on_a_cancelled_thread_raises_cancelled_error(saver: Checkpointer) -> None:
    work = Work(saver)
    call = asyncio.create_task(work.graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await work.waits.wait()
    assert await work.graph.acancel("t")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await work.graph.aget_state(thread_id="t")).status == "cancelled"
