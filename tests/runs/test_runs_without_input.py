"""Runs that begin without an input or with a Command, and callers that continue or await runs that wait for them."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    CheckpointCommitted,
    Checkpointer,
    Command,
    CompiledGraph,
    InterruptAnsweredError,
    InvalidOptionError,
    InvalidUpdateError,
    RunFailedError,
    Send,
    StateGraph,
    TaskFinished,
    ThreadCancelledError,
    UnknownInterruptError,
    UnknownNameError,
    UnknownRunError,
    interrupt,
    sleep,
)
from durable_graph.runs import App

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    item: str


def node(name: str) -> Any:
    async def execute(state: State) -> State:
        return {"log": [name + state.get("item", "")]}

    return execute


async def ask(state: State) -> State:
    return {"log": [interrupt("ok?")]}


async def rest(state: State) -> State:
    await sleep(3600)
    return {}


def graph_of(**nodes: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_sequence(list(nodes.items())).add_edge(START, next(iter(nodes))).compile()


def chain() -> CompiledGraph[Any, Any, Any, Any]:
    return graph_of(one=node("one"), two=node("two"), three=node("three"))


async def checkpoint_before(app: App, following: str) -> str:
    async for each in app.graph("g").aget_state_history(thread_id="t"):
        if each.next == (following,):
            found: str = each.config["configurable"]["checkpoint_id"]
            return found
    raise AssertionError(following)


async def test_a_run_without_an_input_runs_the_tasks_of_a_fork(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    async with app.worker():
        first = await app.start("g", {}, thread_id="t")
        assert await first.result(20) == {"log": ["one", "two", "three"]}
        at = await checkpoint_before(app, "two")
        await app.graph("g").aupdate_state(thread_id="t", checkpoint_id=at, as_node="__copy__")
        again = await app.start("g", None, thread_id="t", events="all")
        assert await again.result(20) == {"log": ["one", "two", "three"]}
        events = [each.event async for each in again.events()]
    finished = [each.node for each in events if isinstance(each, TaskFinished)]
    assert finished == ["two", "three"]
    assert [each.next for each in events if isinstance(each, CheckpointCommitted)] == [("three",), ()]


async def test_a_run_without_an_input_follows_an_update_of_the_state(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    await app.graph("g").aupdate_state(thread_id="t", values={"log": ["mine"]}, as_node="two")
    async with app.worker():
        handle = await app.start("g", None, thread_id="t")
        assert await handle.result(20) == {"log": ["mine", "three"]}


async def test_a_run_without_an_input_may_ask(saver: Checkpointer) -> None:
    app = App({"g": graph_of(one=node("one"), ask=ask)}, saver)
    await app.graph("g").aupdate_state(thread_id="t", values={"log": ["mine"]}, as_node="one")
    async with app.worker():
        handle = await app.start("g", None, thread_id="t")
        status = await handle.stopped(20)
        assert (status.state, len(status.interrupts)) == ("waiting", 1)
        await app.answer("t", "yes")
        assert await handle.result(20) == {"log": ["mine", "yes"]}


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_run_without_an_input_and_without_tasks_fails(saver: Checkpointer, is_new: bool) -> None:
    app = App({"g": chain()}, saver)
    async with app.worker():
        if not is_new:
            await (await app.start("g", {}, thread_id="t")).result(20)
        handle = await app.start("g", None, thread_id="t")
        with pytest.raises(RunFailedError, match="nothing to resume"):
            await handle.result(20)


async def test_a_run_begins_with_the_update_and_the_nodes_of_a_command(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    command: Command[Any] = Command(update={"log": ["mine"]}, goto=["three", Send("one", {"item": "!"})])
    async with app.worker():
        await (await app.start("g", {}, thread_id="t")).result(20)
        handle = await app.start("g", command, thread_id="t", key="k", events="all")
        result = (await handle.result(20))["log"]
        assert result[:4] == ["one", "two", "three", "mine"]
        assert sorted(result[4:]) == ["one!", "three", "three", "two"]
        assert (await app.start("g", command, thread_id="t", key="k")).run_id == handle.run_id


async def test_a_command_of_a_start_is_checked(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    with pytest.raises(InvalidOptionError, match=r"app\.answer"):
        await app.start("g", Command(resume=1), thread_id="t")
    for empty in (Command[Any](), Command[Any](update={"log": []}, graph=Command.PARENT)):
        with pytest.raises(InvalidUpdateError):
            await app.start("g", empty, thread_id="t")
    with pytest.raises(UnknownNameError):
        await app.start("g", Command(goto="nowhere"), thread_id="t")
    with pytest.raises(InvalidUpdateError):
        await app.start("g", Command(update={"nothing": 1}), thread_id="t")
    assert await app.runs() == []


async def test_a_run_at_a_breakpoint_is_resumed_once(saver: Checkpointer) -> None:
    app = App({"g": chain()}, saver)
    async with app.worker():
        handle = await app.start("g", {}, thread_id="t", interrupt_before=["two", "three"])
        status = await handle.stopped(20)
        assert (status.is_at_breakpoint, status.is_interrupted, status.has_ended) == (True, True, False)
        assert await app.unfinished("t") == status
        resumed = await asyncio.gather(app.resume("t"), app.resume("t"))
        assert sorted(resumed)[-1] is True
        while (await app.graph("g").aget_state(thread_id="t")).next != ("three",):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.005)
        assert (await handle.stopped(20)).is_at_breakpoint
        assert await app.resume("t")
        assert await handle.result(20) == {"log": ["one", "two", "three"]}
    assert await app.unfinished("t") is None
    with pytest.raises(UnknownRunError):
        await app.resume("t")


async def test_a_run_that_waits_for_an_answer_or_a_time_is_not_resumed(saver: Checkpointer) -> None:
    app = App({"ask": graph_of(ask=ask), "rest": graph_of(rest=rest)}, saver)
    async with app.worker():
        asked = await app.start("ask", {}, thread_id="a")
        assert not (await asked.stopped(20)).is_at_breakpoint
        resting = await app.start("rest", {}, thread_id="r")
        while (await resting.status()).state != "waiting":  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.005)
        assert not await app.resume("a")
        assert not await app.resume("r")
        with pytest.raises(TimeoutError):
            await resting.stopped(0.05)


async def test_a_late_answer_gets_the_first_one_also_after_the_end_of_the_run(saver: Checkpointer) -> None:
    app = App({"g": graph_of(ask=ask)}, saver)
    async with app.worker():
        handle = await app.start("g", {}, thread_id="t")
        (asked,) = (await handle.stopped(20)).interrupts
        await app.answer("t", "yes")
        await handle.result(20)
        for interrupt_id in (None, asked):
            with pytest.raises(InterruptAnsweredError) as late:
                await app.answer("t", "no", interrupt_id=interrupt_id)
            assert late.value.answers == {asked: "yes"}
        with pytest.raises(UnknownInterruptError):
            await app.answer("t", "no", interrupt_id="0" * 32)
        with pytest.raises(UnknownRunError):
            await app.answer("nobody", "no")


async def test_an_answer_to_a_cancelled_thread_says_so(saver: Checkpointer) -> None:
    app = App({"g": graph_of(ask=ask)}, saver)
    async with app.worker():
        handle = await app.start("g", {}, thread_id="t")
        await handle.stopped(20)
        await handle.cancel()
        assert (await handle.stopped(20)).state == "cancelled"
        with pytest.raises(ThreadCancelledError):
            await app.answer("t", "no")


async def test_a_run_that_has_ended_is_forgotten(saver: Checkpointer) -> None:
    app = App({"g": chain(), "ask": graph_of(ask=ask)}, saver)
    async with app.worker():
        waiting = await app.start("ask", {}, thread_id="a")
        await waiting.stopped(20)
        assert (await app.delete_run(waiting.run_id)).state == "waiting"
        assert (await waiting.status()).state == "waiting"
        handle = await app.start("g", {}, thread_id="t", key="k", events="all")
        await handle.result(20)
        assert (await app.delete_run(handle.run_id)).state == "done"
        for call in (app.delete_run(handle.run_id), app.find(handle.run_id), handle.result(20)):
            with pytest.raises(UnknownRunError):
                await call
        assert (await app.graph("g").aget_state(thread_id="t")).values == {"log": ["one", "two", "three"]}
        assert (await app.start("g", {}, thread_id="t", key="k")).is_new
