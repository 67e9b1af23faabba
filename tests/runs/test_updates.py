"""Updates of running graphs: recorded at once, applied between two supersteps, each once and in order."""

import asyncio
import random
import re
from datetime import timedelta
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    Durability,
    InvalidInputError,
    InvalidOptionError,
    InvalidUpdateError,
    MemorySaver,
    Overwrite,
    RunFailedError,
    Send,
    StateGraph,
    StateKeyError,
    ThreadBusyError,
    ThreadCancelledError,
    ThreadFinishedError,
    UnknownNameError,
    UnknownThreadError,
    UnstorableValueError,
    UntrackedValue,
    interrupt,
    receive,
)
from durable_graph.run_records import RequestOfRun
from durable_graph.runs import App
from durable_graph.testing import CrashingSaver, run_app
from durable_graph.testing.conformance.run_store_under_test import runs_of

pytestmark = pytest.mark.every_store

DAY = timedelta(days=1)
Graph = CompiledGraph[Any, Any, Any, Any]


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    total: int


def guarded(old: list[str], new: list[str]) -> list[str]:
    """A reducer that refuses the value "bad"."""
    if "bad" in new:
        message = "no room"
        raise ValueError(message)
    return [*old, *new]


def built(*names: str, extra: str = "", **nodes: Any) -> "StateGraph[Any, Any, Any, Any]":
    """A chain of nodes, each of which writes its name unless it is given, and the node `extra`, which no edge leads
    to."""

    def writes(name: str) -> Any:
        async def node(state: State) -> State:
            return {"log": [name]}

        return node

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for before, name in zip((START, *names), names, strict=False):
        destinations = (extra,) if extra and name == names[0] else None
        builder.add_node(name, nodes.get(name) or writes(name), destinations=destinations)
        builder.add_edge(before, name)
    if extra:
        builder.add_node(extra, nodes.get(extra) or writes(extra))
    return builder


class Gate:
    """A node that waits until the test opens it."""

    def __init__(self, name: str = "gate") -> None:
        self.name = name
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def __call__(self, state: State) -> State:
        self.reached.set()
        await self.open.wait()
        return {"log": [self.name]}


async def test_an_update_of_a_running_graph_is_applied_at_the_next_superstep(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": built("gate", "last", extra="extra", gate=gate).compile()}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t")
        await gate.reached.wait()
        assert await app.update("t", {"log": ["update"], "total": 5}, goto="extra")
        assert (await app.graph("g").aget_state(thread_id="t")).values == {}
        gate.open.set()
        # The tasks of the update are planned after those that are planned already.
        assert await handle.result(20) == {"log": ["gate", "update", "last", "extra"], "total": 5}


async def test_the_holder_in_another_process_receives_an_update_by_its_heartbeat(saver: Checkpointer) -> None:
    beaten = asyncio.Event()
    seen: list[list[str]] = []

    async def loop(state: State) -> Any:
        seen.append(state.get("log", []))
        await beaten.wait() if not state.get("log") else None
        return {"total": state.get("total", 0) + 1}

    def again(state: State) -> str:
        return "__end__" if state.get("log") else "loop"

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("loop", loop)
    builder.add_edge(START, "loop")
    builder.add_conditional_edges("loop", again, ["loop", "__end__"])
    app, elsewhere = App({"g": builder.compile()}, saver), App({"g": builder.compile()}, saver)
    async with app.worker(lease=0.3) as worker:
        handle = await app.start("g", {}, thread_id="t", recursion_limit=1_000_000)
        async with asyncio.timeout(20):
            while not seen:  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.001)
            await elsewhere.update("t", {"log": ["update"]})
            beaten.set()
            assert (await handle.result())["log"] == ["update"]
        assert worker.running == 0


async def test_an_update_wakes_a_waiting_run_and_its_questions_stay(saver: Checkpointer) -> None:
    calls: list[str] = []

    async def ask(state: State) -> State:
        calls.append("ask")
        return {"log": [interrupt("ok?")]}

    app = App({"g": built("ask", "last", extra="extra", ask=ask).compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("g", {}, thread_id="t")
        await running.settle()
        (asked,) = (await app.graph("g").aget_state(thread_id="t")).interrupts
        await app.update("t", {"log": ["update"]}, goto="extra")
        await running.settle()
        snapshot = await app.graph("g").aget_state(thread_id="t")
        assert snapshot.interrupts == (asked,)
        assert snapshot.values["log"] == ["update", "extra"]
        assert (await handle.status()).state == "waiting"
        assert calls == ["ask"]
        await app.answer("t", "yes", interrupt_id=asked.id)
        assert await handle.result(20) == {"log": ["update", "yes", "extra", "last"]}


async def test_an_update_of_a_run_at_a_breakpoint_continues_it(saver: Checkpointer) -> None:
    app = App({"g": built("one", "two").compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("g", {}, thread_id="t", interrupt_before=["two"])
        await running.settle()
        assert (await app.graph("g").aget_state(thread_id="t")).next == ("two",)
        await app.update("t", {"log": ["corrected"]})
        assert await handle.result(20) == {"log": ["one", "corrected", "two"]}


async def test_an_update_of_a_key_that_is_not_stored_is_refused(saver: Checkpointer) -> None:
    class Untracked(TypedDict, total=False):
        log: Annotated[list[str], add]
        secret: Annotated[str, UntrackedValue]

    async def one(state: Untracked) -> Untracked:
        return {"log": ["one"]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Untracked)
    builder.add_node("one", one)
    builder.add_edge(START, "one")
    app = App({"g": builder.compile()}, saver)
    await app.start("g", {}, thread_id="t")
    with pytest.raises(InvalidUpdateError, match="'secret', whose values are not stored"):
        await app.update("t", {"secret": "x"})


async def test_an_update_before_the_first_superstep_follows_the_input(saver: Checkpointer) -> None:
    app = App({"g": built("one", extra="extra").compile()}, saver)
    handle = await app.start("g", {"log": ["input"]}, thread_id="t")
    await app.update("t", {"log": ["update"]}, goto="extra")
    async with run_app(app):
        assert await handle.result(20) == {"log": ["input", "update", "one", "extra"]}


async def test_an_update_during_the_last_superstep_is_applied_after_it(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": built("gate", extra="extra", gate=gate).compile()}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t")
        later = await app.start("g", {}, thread_id="t")
        await gate.reached.wait()
        await app.update("t", {"log": ["update"]})
        await app.update("t", {"log": ["other"]}, goto="extra")
        gate.open.set()
        assert await handle.result(20) == {"log": ["gate", "update", "other", "extra"]}
        assert (await later.result(20))["log"][4:] == ["gate"]


async def test_an_update_with_values_alone_ends_with_the_run(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": built("gate", gate=gate).compile()}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t")
        await gate.reached.wait()
        await app.update("t", {"log": ["update"]})
        gate.open.set()
        assert await handle.result(20) == {"log": ["gate", "update"]}
    assert (await app.graph("g").aget_state(thread_id="t")).status == "done"


async def test_an_update_reaches_a_run_that_runs_a_nested_graph(saver: Checkpointer) -> None:
    gate = Gate()
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    outer.add_node("inner", built("gate", "second", gate=gate).compile())
    outer.add_edge(START, "inner")
    app = App({"g": outer.compile()}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t")
        await gate.reached.wait()
        await app.update("t", {"log": ["update"]})
        gate.open.set()
        # The nested graph's supersteps are inside of one of the outer graph's.
        assert await handle.result(20) == {"log": ["gate", "second", "update"]}


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_updates_are_applied_after_the_supersteps_of_the_run_so_far(
    saver: Checkpointer, durability: Durability
) -> None:
    gate = Gate()
    app = App({"g": built("one", "gate", "last", gate=gate).compile()}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t", durability=durability)
        await gate.reached.wait()
        await app.update("t", {"log": ["update"]})
        gate.open.set()
        assert await handle.result(20) == {"log": ["one", "gate", "update", "last"]}
        (state,) = [each async for each in app.graph("g").aget_state_history(thread_id="t", limit=1)]
        assert state.values == {"log": ["one", "gate", "update", "last"]}


async def test_an_update_with_a_known_key_is_applied_once(saver: Checkpointer) -> None:
    app = App({"g": built("one").compile()}, saver)
    handle = await app.start("g", {}, thread_id="t")
    assert await app.update("t", {"log": ["a"]}, key="k")
    assert not await app.update("t", {"log": ["b"]}, key="k")
    # A signal may have the same key.
    assert await app.signal("t", "topic", 1, key="k")
    async with run_app(app):
        assert await handle.result(20) == {"log": ["a", "one"]}
    assert not await app.update("t", {"log": ["c"]}, key="k")


async def test_an_update_replaces_and_removes_as_a_command_does(saver: Checkpointer) -> None:
    app = App({"g": built("one").compile()}, saver)
    handle = await app.start("g", {"log": ["input"]}, thread_id="t")
    await app.update("t", {"log": Overwrite(["new"])})
    await app.update("t", [("log", ["a"]), ("log", ["b"])])
    async with run_app(app):
        assert await handle.result(20) == {"log": ["new", "a", "b", "one"]}


async def test_an_update_plans_sends_and_delayed_tasks(saver: Checkpointer) -> None:
    async def visit(state: State) -> State:
        return {"log": [f"visit {state['total']}"]}

    app = App({"g": built("one", extra="visit", visit=visit).compile()}, saver)
    handle = await app.start("g", {}, thread_id="t")
    await app.update("t", goto=[Send("visit", {"total": 1}, after=2 * DAY), Send("visit", {"total": 2})], after=DAY)
    async with run_app(app) as running:
        await running.settle()
        dues = [each.due for each in (await app.graph("g").aget_state(thread_id="t")).interrupts]
        assert dues[1] is not None
        assert dues[0] is not None
        assert dues[1] < dues[0]
        await running.move(DAY + timedelta(minutes=1))
        assert (await handle.status()).due == dues[0]
        await running.move(DAY)
        assert await handle.result(20) == {"log": ["one", "visit 1", "visit 2"]}


async def test_an_update_makes_a_delayed_task_begin_at_once(saver: Checkpointer) -> None:
    app = App({"g": built("one", extra="remind").compile()}, saver)
    handle = await app.start("g", {}, thread_id="t")
    await app.update("t", goto="remind", after=DAY)
    async with run_app(app) as running:
        await running.settle()
        assert (await handle.status()).state == "waiting"
        await app.update("t", goto="remind")
        assert await handle.result(20) == {"log": ["one", "remind"]}


async def test_the_update_of_a_failed_run_is_applied_by_its_retry(saver: Checkpointer) -> None:
    gate = Gate()

    async def fail(state: State) -> State:
        await gate(state)
        if not state.get("log"):
            message = "nothing to do"
            raise ValueError(message)
        return {"log": ["done"]}

    app = App({"g": built("fail", fail=fail).compile()}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t")
        await gate.reached.wait()
        await app.update("t", {"log": ["update"]})
        gate.open.set()
        with pytest.raises(RunFailedError, match="nothing to do"):
            await handle.result(20)
        assert (await app.retry(handle.run_id)).thread_id == "t"
        assert await handle.result(20) == {"log": ["update", "done"]}


async def test_an_update_that_a_reducer_refuses_fails_the_run_and_stays_until_it_can_be_applied(
    saver: Checkpointer,
) -> None:
    broken = [True]

    def joined(old: list[str], new: list[str]) -> list[str]:
        if broken[0] and "bad" in new:
            message = "no room"
            raise ValueError(message)
        return [*old, *new]

    class Full(TypedDict, total=False):
        log: Annotated[list[str], joined]

    async def one(state: Full) -> Full:
        return {"log": ["one"]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Full)
    builder.add_node("one", one)
    builder.add_edge(START, "one")
    app = App({"g": builder.compile()}, saver)
    handle = await app.start("g", {}, thread_id="t")
    for text in ("good", "bad", "last"):
        await app.update("t", {"log": [text]})
    async with run_app(app):
        with pytest.raises(RunFailedError, match="no room"):
            await handle.result(20)
        assert (await app.graph("g").aget_state(thread_id="t")).values == {"log": ["good"]}
        broken[0] = False
        await app.retry(handle.run_id)
        assert await handle.result(20) == {"log": ["good", "bad", "last", "one"]}


class Guarded(TypedDict, total=False):
    log: Annotated[list[str], guarded]


async def one(state: Guarded) -> Guarded:
    return {"log": ["one"]}


def guarded_app(saver: Checkpointer) -> App:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Guarded)
    builder.add_node("one", one)
    builder.add_edge(START, "one")
    return App({"g": builder.compile()}, saver)


async def test_the_error_of_a_refused_update_names_the_update_and_the_way_out(saver: Checkpointer) -> None:
    app = guarded_app(saver)
    handle = await app.start("g", {}, thread_id="t")
    await app.update("t", {"log": ["good"]})
    await app.update("t", {"log": ["bad"]}, key="change-7")
    async with run_app(app):
        with pytest.raises(RunFailedError) as failed:
            await handle.result(20)
    for part in ("update 'change-7' of thread 't'", "no room", "app.discard_update('t', 'change-7')"):
        assert part in str((await handle.status()).error)
    assert "change-7" in str(failed.value)


async def test_later_runs_of_a_thread_succeed_once_a_refused_update_is_discarded(saver: Checkpointer) -> None:
    app = guarded_app(saver)
    handle = await app.start("g", {}, thread_id="t")
    for text in ("good", "bad", "last"):
        await app.update("t", {"log": [text]}, key=text)
    async with run_app(app):
        with pytest.raises(RunFailedError, match="no room"):
            await handle.result(20)
        later = await app.start("g", {}, thread_id="t")
        with pytest.raises(RunFailedError, match="no room"):
            await later.result(20)
        assert await app.discard_update("t", "bad")
        assert not await app.discard_update("t", "bad")
        # A delivery that is repeated does not bring it back.
        await app.retry(later.run_id)
        assert await later.result(20) == {"log": ["good", "last", "one"]}
    with pytest.raises(UnknownThreadError):
        await app.discard_update("other", "bad")
    for wrong in ("", 7, None):
        with pytest.raises(InvalidOptionError, match="key"):
            await app.discard_update("t", wrong)  # type: ignore[arg-type]  # an argument of another type


async def test_the_key_of_a_discarded_update_stays_known(saver: Checkpointer) -> None:
    app = guarded_app(saver)
    handle = await app.start("g", {}, thread_id="t")
    await app.update("t", {"log": ["bad"]}, key="bad")
    assert await app.discard_update("t", "bad")
    assert not await app.update("t", {"log": ["bad"]}, key="bad")
    async with run_app(app):
        assert await handle.result(20) == {"log": ["one"]}


async def test_an_update_without_a_key_is_discarded_by_the_key_that_its_error_names(saver: Checkpointer) -> None:
    app = guarded_app(saver)
    handle = await app.start("g", {}, thread_id="t")
    await app.update("t", {"log": ["bad"]})
    async with run_app(app):
        with pytest.raises(RunFailedError):
            await handle.result(20)
        found = re.search(r"app\.discard_update\('t', '([0-9a-f]{32})'\)", (await handle.status()).error or "")
        assert found is not None
        assert await app.discard_update("t", found[1])
        await app.retry(handle.run_id)
        assert await handle.result(20) == {"log": ["one"]}


async def test_no_update_is_discarded_while_a_worker_executes_the_run(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"g": built("gate", gate=gate).compile()}, saver)
    async with run_app(app):
        handle = await app.start("g", {}, thread_id="t")
        await gate.reached.wait()
        await app.update("t", {"log": ["update"]}, key="k")
        with pytest.raises(ThreadBusyError, match="a worker executes") as busy:
            await app.discard_update("t", "k")
        assert busy.value.run_id == handle.run_id
        gate.open.set()
        assert await handle.result(20) == {"log": ["gate", "update"]}


async def test_a_run_at_its_end_is_done_once_its_last_update_is_discarded(saver: Checkpointer) -> None:
    gate = Gate()

    async def hold(state: Guarded) -> Guarded:
        gate.reached.set()
        await gate.open.wait()
        return {"log": ["held"]}

    builder = StateGraph(Guarded).add_node("hold", hold).add_edge(START, "hold")
    app = App({"g": builder.compile()}, saver)
    handle = await app.start("g", {}, thread_id="t")
    async with app.worker():
        await gate.reached.wait()
        # From another process: the worker learns of it by its next heartbeat, after the last superstep.
        await App({"g": builder.compile()}, saver).update("t", {"log": ["bad"]}, key="bad")
        gate.open.set()
        with pytest.raises(RunFailedError, match="update 'bad'"):
            await handle.result(20)
        assert (await app.graph("g").aget_state(thread_id="t")).status == "failed"
        await app.discard_update("t", "bad")
        await app.retry(handle.run_id)
        assert await handle.result(20) == {"log": ["held"]}
        assert (await app.graph("g").aget_state(thread_id="t")).status == "done"


async def test_the_update_whose_value_cannot_be_stored_is_named(saver: Checkpointer) -> None:
    def joined(old: Any, new: Any) -> Any:
        return [object()] if "bad" in new else [*old, *new]

    class Unstorable(TypedDict, total=False):
        log: Annotated[list[str], joined]

    async def last(state: Unstorable) -> Unstorable:
        return {"log": ["one"]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Unstorable)
    builder.add_node("one", last)
    builder.add_edge(START, "one")
    app = App({"g": builder.compile()}, saver)
    handle = await app.start("g", {}, thread_id="t")
    for text in ("good", "bad", "last"):
        await app.update("t", {"log": [text]}, key=text)
    async with run_app(app):
        with pytest.raises(RunFailedError, match="update 'bad' of thread 't'"):
            await handle.result(20)
        await app.discard_update("t", "bad")
        await app.retry(handle.run_id)
        assert await handle.result(20) == {"log": ["good", "last", "one"]}


async def test_a_worker_that_lacks_a_node_of_an_update_leaves_the_run_to_another_worker(saver: Checkpointer) -> None:
    new, old = built("one", extra="extra"), built("one")
    sender = App({"g": new.compile()}, saver)
    handle = await sender.start("g", {}, thread_id="t")
    await sender.update("t", {"log": ["update"]}, goto="extra")
    older = App({"g": old.compile()}, saver)
    async with older.worker():
        async with asyncio.timeout(20):
            while (await handle.status()).attempt < 1 or (await handle.status()).state != "ready":  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.005)
    async with run_app(sender) as running:
        await running.move(DAY)
        assert await handle.result(20) == {"log": ["update", "one", "extra"]}


async def test_threads_without_an_unfinished_run_refuse_updates(saver: Checkpointer) -> None:
    app = App({"g": built("one").compile(), "ask": built("ask", ask=waits).compile()}, saver)
    with pytest.raises(UnknownThreadError):
        await app.update("nobody", {"log": []})
    async with run_app(app) as running:
        await (await app.start("g", {}, thread_id="done")).result(20)
        with pytest.raises(ThreadFinishedError):
            await app.update("done", {"log": []})
        cancelled = await app.start("ask", {}, thread_id="cancelled")
        await running.settle()
        await cancelled.cancel()
        with pytest.raises(ThreadCancelledError):
            await app.update("cancelled", {"log": []})


async def waits(state: State) -> State:
    return {"log": [await receive("never")]}


async def test_an_update_is_checked_against_the_graph_when_it_is_sent(saver: Checkpointer) -> None:
    app = App({"g": built("one", extra="extra").compile()}, saver)
    await app.start("g", {}, thread_id="t")
    for error, values, options in (
        (StateKeyError, {"unknown": 1}, {}),
        (InvalidInputError, 5, {}),
        (InvalidUpdateError, None, {}),
        (UnstorableValueError, {"log": 5}, {}),
        (UnknownNameError, None, {"goto": "nowhere"}),
        (UnknownNameError, None, {"goto": Send("nowhere", 1)}),
        (UnstorableValueError, None, {"goto": Send("extra", object())}),
        (InvalidOptionError, {"log": []}, {"after": DAY}),
        (InvalidOptionError, None, {"goto": "extra", "after": -1}),
        (InvalidOptionError, {"log": []}, {"key": ""}),
    ):
        with pytest.raises(error) as refused:
            await app.update("t", values, **options)
        assert len(str(refused.value)) <= 400
    assert await runs_of(saver).inbox("t", ("__update__",)) == []


async def test_a_signal_with_a_reserved_topic_is_refused(saver: Checkpointer) -> None:
    app = App({"g": built("one").compile()}, saver)
    await app.start("g", {}, thread_id="t")
    with pytest.raises(InvalidOptionError, match="topic"):
        await app.signal("t", "__update__", 1)


async def test_a_superstep_does_not_look_for_updates(saver: Checkpointer) -> None:
    counting = CrashingSaver(saver)
    app = App({"g": built("one", "two", "three", "four").compile()}, counting)
    async with run_app(app) as running:
        handle = await app.start("g", {}, thread_id="t")
        await handle.result(20)
        assert counting.names.count("inbox") == 0
        later = await app.start("g", {}, thread_id="u", delay=60)
        await app.update("u", {"log": ["update"]})
        await running.move(timedelta(seconds=60))
        await later.result(20)
    # One query finds the update, and one finds that it was the last.
    assert counting.names.count("inbox") == 2
    assert [each.request async for each in _rows(saver)] == [RequestOfRun.NOTHING] * 2


async def _rows(saver: Checkpointer) -> Any:
    for row in await runs_of(saver).list_runs():
        yield row


MOMENTS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


async def sent_at(saver: Checkpointer, moments: list[int], thread: str) -> None:
    """Send an update at each of these turns of the event loop, some twice, from an app of the same process and from
    another, to a chain that asks a question."""

    async def slow(state: State) -> State:
        for _ in range(3):
            await asyncio.sleep(0)
        return {}

    async def ask(state: State) -> State:
        await receive("go")
        return {}

    builder = built("a", "ask", "b", "c", a=slow, ask=ask, b=slow, c=slow)
    app, elsewhere = App({"g": builder.compile()}, saver), App({"g": builder.compile()}, saver)
    async with app.worker(lease=1):
        handle = await app.start("g", {}, thread_id=thread)
        texts: list[str] = []
        for number, turns in enumerate(moments):
            for _ in range(turns):
                await asyncio.sleep(0)
            sender = (app, elsewhere)[number % 2]
            assert await sender.update(thread, {"log": [str(number)]}, key=str(number))
            assert not await sender.update(thread, {"log": ["again"]}, key=str(number))
            texts.append(str(number))
            if number == len(moments) // 2:
                # From here on the run may end: an update is refused, or applied before the end.
                await app.signal(thread, "go", 1)
                break
        for number in range(len(texts), len(moments)):
            try:
                await elsewhere.update(thread, {"log": [str(number)]}, key=str(number))
            except ThreadFinishedError:
                break
            texts.append(str(number))
        assert (await handle.result(20))["log"] == texts


@given(MOMENTS)
@settings(max_examples=60, deadline=None)
def test_updates_at_any_moments_are_applied_once_and_in_order(moments: list[int]) -> None:
    async def attempt() -> None:
        async with MemorySaver() as saver:
            await sent_at(saver, moments, "t")

    asyncio.run(attempt())


async def test_updates_at_random_moments_are_applied_once_and_in_order_on_each_store(saver: Checkpointer) -> None:
    drawn = random.Random(7)
    for number in range(6):
        moments = [drawn.randrange(30) for _ in range(drawn.randrange(1, 12))]
        await sent_at(saver, moments, f"thread {number}")
