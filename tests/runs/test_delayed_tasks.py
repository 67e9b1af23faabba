"""Delayed tasks: `Command(goto=..., after=...)` and `Send(..., after=...)`. The tests move clocks, and do not wait."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    CachePolicy,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    InMemoryCache,
    InvalidOptionError,
    MemorySaver,
    MissingCheckpointerError,
    Send,
    StateGraph,
    ThreadCancelledError,
    interrupt,
)
from durable_graph.runs import App
from durable_graph.testing import run_app

pytestmark = pytest.mark.every_store

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


Graph = CompiledGraph[Any, Any, Any, Any]


def wrote(name: str) -> Any:
    async def node(state: State) -> State:
        return {"log": [name]}

    return node


def built(first: Any, **nodes: Any) -> "StateGraph[Any, Any, Any, Any]":
    """A graph of the node `first`, which chooses the others."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("first", first, destinations=tuple(nodes))
    builder.add_edge(START, "first")
    for name, node in nodes.items():
        builder.add_node(name, node)
    return builder


def going(goto: Any, after: Any = None) -> Any:
    async def first(state: State) -> Command[Any]:
        return Command(update={"log": ["first"]}, goto=goto, after=after)

    return first


def remind_later(after: Any = 3 * DAY) -> "StateGraph[Any, Any, Any, Any]":
    return built(going("remind", after), remind=wrote("remind"))


async def test_a_delayed_task_begins_once_it_is_due(saver: Checkpointer) -> None:
    app = App({"order": remind_later().compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("order", {}, thread_id="t")
        await running.settle()
        status = await handle.status()
        assert status.state == "waiting"
        assert status.due is not None
        assert status.accepted_at is not None
        assert 3 * DAY <= status.due - status.accepted_at < 3 * DAY + MINUTE
        assert running.worker.running == 0
        await running.move(2 * DAY)
        assert (await handle.status()).state == "waiting"
        await running.move(DAY + MINUTE)
        assert await handle.result() == {"log": ["first", "remind"]}


@pytest.mark.parametrize("mode", ["async", "exit"])
async def test_a_delayed_task_waits_until_it_is_due_in_every_durability(saver: Checkpointer, mode: Durability) -> None:
    app = App({"order": remind_later().compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("order", {}, thread_id="t", durability=mode)
        await running.settle()
        assert (await handle.status()).state == "waiting"
        assert (await app.graph("order").aget_state(thread_id="t")).values == {"log": ["first"]}
        await running.move(3 * DAY + MINUTE)
        assert await handle.result() == {"log": ["first", "remind"]}


async def test_the_snapshot_of_a_delayed_task_has_its_due_time(saver: Checkpointer) -> None:
    app = App({"order": remind_later().compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("order", {}, thread_id="t")
        await running.settle()
        due = (await handle.status()).due
        graph = app.graph("order")
        snapshot = await graph.aget_state(thread_id="t")
        assert snapshot.next == ("remind",)
        (waiting,) = snapshot.tasks
        (delay,) = waiting.interrupts
        assert (waiting.name, delay.due, delay.is_sleep) == ("remind", due, True)
        assert snapshot.status == "interrupted"
        await running.move(3 * DAY + MINUTE)
        past = [each async for each in graph.aget_state_history(thread_id="t") if each.next == ("remind",)]
        assert [each.due for each in past[0].tasks[0].interrupts] == [due]
        assert (await graph.aget_state(thread_id="t")).interrupts == ()


async def test_tasks_of_a_superstep_begin_at_their_times_and_it_ends_when_all_have_run(saver: Checkpointer) -> None:
    begun: list[str] = []

    def noted(name: str) -> Any:
        async def node(state: State) -> State:
            begun.append(name)
            return {"log": [name]}

        return node

    first = going(["now", Send("one", {"log": []}, after=HOUR), Send("two", {"log": []}, after=DAY)])
    builder = built(first, now=noted("now"), one=noted("one"), two=noted("two"))
    builder.add_node("last", noted("last"))
    builder.add_edge("now", "last")
    app = App({"order": builder.compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("order", {})
        await running.settle()
        assert begun == ["now"]
        await running.move(HOUR + MINUTE)
        assert begun == ["now", "one"]
        await running.move(DAY)
        assert begun == ["now", "one", "two", "last"]
        assert await handle.result() == {"log": ["first", "now", "one", "two", "last"]}


async def test_the_sends_of_a_router_begin_at_their_times(saver: Checkpointer) -> None:
    def choose(state: State) -> list[Send]:
        return [Send("visit", {"log": [str(day)]}, after=day * DAY) for day in (2, 1)]

    async def visit(state: State) -> State:
        return {"log": [f"visited {state['log'][0]}"]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("visit", visit)
    builder.add_conditional_edges(START, choose, ["visit"])
    app = App({"tour": builder.compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("tour", {}, thread_id="t")
        await running.settle()
        first = (await handle.status()).due
        await running.move(DAY + MINUTE)
        tasks = (await app.graph("tour").aget_state(thread_id="t")).tasks
        assert [bool(each.interrupts) for each in tasks] == [True, False]
        assert first is not None
        assert (await handle.status()).due == tasks[0].interrupts[0].due
        await running.move(DAY)
        # The results are applied in the order of the plan, not of the times.
        assert await handle.result() == {"log": ["visited 2", "visited 1"]}


async def test_the_time_of_a_send_replaces_that_of_its_command(saver: Checkpointer) -> None:
    first = going([Send("soon", {}, after=HOUR), Send("late", {})], DAY)
    app = App({"two": built(first, soon=wrote("soon"), late=wrote("late")).compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("two", {}, thread_id="t")
        await running.settle()
        soon, late = (await app.graph("two").aget_state(thread_id="t")).interrupts
        assert soon.due is not None
        assert late.due is not None
        assert DAY - HOUR - MINUTE < late.due - soon.due < DAY - HOUR + MINUTE
        await running.move(DAY + MINUTE)
        assert await handle.result() == {"log": ["first", "soon", "late"]}


async def test_a_task_in_a_nested_graph_suspends_the_outermost_run(saver: Checkpointer) -> None:
    inner = built(going(["now", Send("later", {}, after=DAY)]), now=wrote("now"), later=wrote("later")).compile()
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    app = App({"outer": outer.compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("outer", {}, thread_id="t")
        await running.settle()
        due = (await handle.status()).due
        assert due is not None
        snapshot = await app.graph("outer").aget_state(thread_id="t", subgraphs=True)
        assert [each.due for each in snapshot.interrupts] == [due]
        assert [each.due for each in snapshot.tasks[0].state.interrupts] == [due]
        await running.move(DAY + MINUTE)
        assert await handle.result() == {"log": ["first", "now", "later"]}


async def test_a_nested_graph_without_a_store_waits_for_the_first_due_time(saver: Checkpointer) -> None:
    runs: list[str] = []

    async def first(state: State) -> Command[Any]:
        runs.append("first")
        return Command(goto="later", after=DAY)

    inner = built(first, later=wrote("later")).compile(checkpointer=False)
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    app = App({"outer": outer.compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("outer", {})
        await running.settle()
        due = (await handle.status()).due
        await running.move(HOUR)
        assert (await handle.status()).due == due
        await running.move(DAY)
        assert await handle.result() == {"log": ["later"]}
    assert runs == ["first", "first"]


async def test_a_command_to_the_parent_graph_keeps_its_time(saver: Checkpointer) -> None:
    async def leave(state: State) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="later", after=DAY)

    inner: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    inner.add_node("leave", leave)
    inner.add_edge(START, "leave")
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    outer.add_node("inner", inner.compile(), destinations=("later",))
    outer.add_node("later", wrote("later"))
    outer.add_edge(START, "inner")
    app = App({"outer": outer.compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("outer", {})
        await running.settle()
        assert (await handle.status()).state == "waiting"
        await running.move(DAY + MINUTE)
        assert await handle.result() == {"log": ["later"]}


async def test_without_a_worker_ainvoke_returns_with_the_time_and_continues_after_it(saver: Checkpointer) -> None:
    graph = remind_later(0.05).compile(saver)
    before = datetime.now(UTC)
    stopped = await graph.ainvoke({}, thread_id="t")
    (delay,) = stopped["__interrupt__"]
    assert delay.is_sleep
    assert before + timedelta(seconds=0.05) <= delay.due <= datetime.now(UTC) + timedelta(seconds=0.05)
    async with asyncio.timeout(20):
        while "__interrupt__" in (ended := await graph.ainvoke(None, thread_id="t")):  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
    assert ended == {"log": ["first", "remind"]}


async def test_a_call_before_the_time_changes_nothing(saver: Checkpointer) -> None:
    graph = remind_later().compile(saver)
    first = await graph.ainvoke({}, thread_id="t")
    before = await graph.aget_state(thread_id="t")
    assert await graph.ainvoke(None, thread_id="t") == first
    assert await graph.aget_state(thread_id="t") == before


async def test_a_command_as_input_plans_a_task_for_later(saver: Checkpointer) -> None:
    graph = built(wrote("first"), remind=wrote("remind")).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    stopped = await graph.ainvoke(Command(goto="remind", after=0.05), thread_id="t")
    assert [each.is_sleep for each in stopped["__interrupt__"]] == [True]
    async with asyncio.timeout(20):
        while "__interrupt__" in (ended := await graph.ainvoke(None, thread_id="t")):  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
    assert ended == {"log": ["first", "remind"]}


async def test_another_command_makes_a_waiting_node_begin_at_once(saver: Checkpointer) -> None:
    graph = remind_later().compile(saver)
    await graph.ainvoke({}, thread_id="t")
    (waiting,) = (await graph.aget_state(thread_id="t")).tasks
    stopped = await graph.ainvoke(Command(goto="remind", after=2 * DAY), thread_id="t")
    assert stopped["__interrupt__"][0].due < waiting.interrupts[0].due
    later = await graph.ainvoke(Command(goto="remind", after=5 * DAY), thread_id="t")
    assert later["__interrupt__"] == stopped["__interrupt__"]
    assert [each.id for each in (await graph.aget_state(thread_id="t")).tasks] == [waiting.id]
    assert await graph.ainvoke(Command(goto="remind"), thread_id="t") == {"log": ["first", "remind"]}


async def test_an_answer_by_its_id_ends_a_delay(saver: Checkpointer) -> None:
    graph = remind_later().compile(saver)
    (delay,) = (await graph.ainvoke({}, thread_id="t"))["__interrupt__"]
    assert await graph.ainvoke(Command(resume={delay.id: None}), thread_id="t") == {"log": ["first", "remind"]}


async def test_an_answer_to_a_sibling_leaves_the_delay(saver: Checkpointer) -> None:
    async def ask(state: State) -> State:
        return {"log": [interrupt("ok?")]}

    app = App(
        {"two": built(going(["ask", Send("later", {}, after=DAY)]), ask=ask, later=wrote("later")).compile()}, saver
    )
    async with run_app(app) as running:
        handle = await app.start("two", {}, thread_id="t")
        await running.settle()
        due = (await handle.status()).due
        # One question is open: the delay does not count as one.
        await app.answer("t", "yes")
        await running.settle()
        assert (await handle.status()).due == due
        await running.move(DAY + MINUTE)
        assert await handle.result() == {"log": ["first", "yes", "later"]}


async def test_an_update_keeps_the_time_of_a_waiting_task_and_its_routers_may_plan_others(saver: Checkpointer) -> None:
    def choose(state: State) -> Send:
        return Send("remind", {}, after=DAY)

    builder = built(wrote("first"), remind=wrote("remind"))
    builder.add_conditional_edges("first", choose, ["remind"])
    graph = builder.compile(saver)
    config = await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["edited"]}, as_node="first")
    (waiting,) = (await graph.aget_state(config)).interrupts
    assert waiting.due is not None
    assert DAY - MINUTE < waiting.due - datetime.now(UTC) <= DAY
    stopped = await graph.ainvoke(None, thread_id="t")
    assert [each.due for each in stopped["__interrupt__"]] == [waiting.due]


async def test_a_fork_keeps_the_time(saver: Checkpointer) -> None:
    graph = remind_later().compile(saver)
    (delay,) = (await graph.ainvoke({}, thread_id="t"))["__interrupt__"]
    planned = await graph.aget_state(thread_id="t")
    assert await graph.ainvoke(Command(goto="remind"), thread_id="t") == {"log": ["first", "remind"]}
    (again,) = (await graph.ainvoke(None, planned.config))["__interrupt__"]
    assert again.due == delay.due
    assert again.id != delay.id


async def test_a_breakpoint_before_a_delayed_node_stops_first(saver: Checkpointer) -> None:
    graph = remind_later().compile(saver, interrupt_before=["remind"])
    stopped = await graph.ainvoke({}, thread_id="t")
    assert stopped == {"log": ["first"]}
    waiting = await graph.ainvoke(None, thread_id="t")
    (delay,) = waiting["__interrupt__"]
    assert delay.is_sleep
    assert await graph.ainvoke(Command(resume={delay.id: None}), thread_id="t") == {"log": ["first", "remind"]}


async def test_a_cancelled_run_begins_no_delayed_task(saver: Checkpointer) -> None:
    app = App({"order": remind_later().compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("order", {}, thread_id="t")
        await running.settle()
        await handle.cancel("changed my mind")
        await running.move(4 * DAY)
        assert (await handle.status()).state == "cancelled"
    with pytest.raises(ThreadCancelledError):
        await app.graph("order").ainvoke(None, thread_id="t")
    assert await app.graph("order").areopen("t")
    assert (await app.graph("order").aget_state(thread_id="t")).status == "interrupted"


async def test_a_run_whose_deadline_is_before_the_time_fails_then(saver: Checkpointer) -> None:
    app = App({"order": remind_later().compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("order", {}, thread_id="t", deadline=DAY)
        await running.move(DAY + MINUTE)
        assert (await handle.status()).state == "failed"


async def test_a_drained_worker_leaves_the_time_to_another_one(saver: Checkpointer) -> None:
    app = App({"order": remind_later().compile()}, saver)
    async with run_app(app) as running:
        handle = await app.start("order", {}, thread_id="t")
        await running.settle()
    async with run_app(app) as running:
        await running.move(2 * DAY)
        assert (await handle.status()).state == "waiting"
        await running.move(2 * DAY)
        assert await handle.result() == {"log": ["first", "remind"]}


async def test_streams_show_when_a_task_is_due(saver: Checkpointer) -> None:
    graph = remind_later().compile(saver)
    shown = [each async for each in graph.astream({}, thread_id="t", stream_mode="updates")]
    (delay,) = shown[-1]["__interrupt__"]
    assert delay.due == (await graph.aget_state(thread_id="t")).interrupts[0].due


async def test_a_cached_result_delays_from_the_time_that_it_is_used(saver: Checkpointer) -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("first", going("remind", DAY), destinations=("remind",), cache_policy=CachePolicy())
    builder.add_node("remind", wrote("remind"))
    builder.add_edge(START, "first")
    app = App({"order": builder.compile(cache=InMemoryCache())}, saver)
    async with run_app(app) as running:
        one = await app.start("order", {})
        await running.settle()
        await running.move(HOUR)
        two = await app.start("order", {})
        await running.settle()
        first, second = (await one.status()).due, (await two.status()).due
        assert first is not None
        assert second is not None
        assert HOUR - MINUTE < second - first < HOUR + MINUTE


@pytest.mark.parametrize("after", [0, -1, timedelta(0), -DAY, math.nan, math.inf, True, "1h", 200 * 366 * DAY])
async def test_an_invalid_time_is_refused(saver: Checkpointer, after: Any) -> None:
    for first in (going("remind", after), going(Send("remind", {}, after=after))):
        graph = built(first, remind=wrote("remind")).compile(saver)
        with pytest.raises(InvalidOptionError, match=r"'first' returned a Command.* with after") as refused:
            await graph.ainvoke({}, thread_id="t")
        assert len(str(refused.value)) <= 400


async def test_a_time_without_goto_is_refused() -> None:
    graph = built(going([], DAY), remind=wrote("remind")).compile(MemorySaver())
    with pytest.raises(InvalidOptionError, match="None without goto"):
        await graph.ainvoke({}, thread_id="t")
    with pytest.raises(InvalidOptionError, match="None without goto"):
        await graph.ainvoke(Command(after=DAY), thread_id="u")
    with pytest.raises(InvalidOptionError, match="None without goto"):
        await graph.ainvoke(Command(update={"log": []}, after=DAY), thread_id="u")


async def test_a_deferred_node_refuses_a_delay_but_a_send_to_it_may_have_one() -> None:
    def with_deferred(goto: Any, after: Any) -> Graph:
        builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
        builder.add_node("first", going(goto, after), destinations=("last",))
        builder.add_node("last", wrote("last"), defer=True)
        builder.add_edge(START, "first")
        return builder.compile(MemorySaver())

    with pytest.raises(InvalidOptionError, match="'last', a deferred node"):
        await with_deferred("last", DAY).ainvoke({}, thread_id="t")
    stopped = await with_deferred(Send("last", {}), DAY).ainvoke({}, thread_id="t")
    assert [each.is_sleep for each in stopped["__interrupt__"]] == [True]


async def test_a_delayed_task_needs_a_checkpointer() -> None:
    with pytest.raises(MissingCheckpointerError, match="after"):
        await remind_later().compile().ainvoke({})
    with pytest.raises(MissingCheckpointerError, match="after"):
        await built(going(Send("remind", {}, after=1)), remind=wrote("remind")).compile().ainvoke({})
