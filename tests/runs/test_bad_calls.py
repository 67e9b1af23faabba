"""Calls of an `App` with values of wrong types, and with values that make no sense: each is refused by name."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    DurableGraphError,
    InvalidOptionError,
    MemorySaver,
    StateGraph,
    ThreadCancelledError,
    ThreadFinishedError,
    delete_expired_threads,
    interrupt,
)
from durable_graph.errors import RunFailedError
from durable_graph.runs import App
from durable_graph.runs.upkeep import Upkeep, read_retention

pytestmark = pytest.mark.every_store

ODD: list[Any] = [-1, 1.5, float("nan"), True, "", "a\0b", "\ud800", b"x", [], {}, object(), timedelta(-1)]


class State(TypedDict, total=False):
    answer: Any


async def ask(state: State) -> State:
    return {"answer": interrupt("ok?")}


def graph() -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()


def unlike_empty(value: Any) -> Any:
    """The value, unless an empty dict is possible."""
    return [] if value == {} else value


CALLS: dict[str, Callable[[App, Any], Awaitable[Any]]] = {
    "graph of a start": lambda app, value: app.start(value, {}),
    "config of a start": lambda app, value: app.start("ask", {}, unlike_empty(value)),
    "priority": lambda app, value: app.start("ask", {}, priority=value),
    "if_busy": lambda app, value: app.start("ask", {}, if_busy=value),
    "events": lambda app, value: app.start("ask", {}, events=value),
    "graph of a listing": lambda app, value: app.runs(graph=value),
    "state of a listing": lambda app, value: app.runs(state=value),
    "limit of a listing": lambda app, value: app.runs(limit=value),
    "after of a listing": lambda app, value: app.runs(after=value),
    "metadata of a listing": lambda app, value: app.runs(metadata=unlike_empty(value)),
    "id of a run": lambda app, value: app.find(value),
    "id of an interrupt": lambda app, value: app.answer("t", 1, interrupt_id=value),
    "topic": lambda app, value: app.signal("t", value, 1),
    "key of a signal": lambda app, value: app.signal("t", "topic", 1, key=value),
    "key of an update": lambda app, value: app.update("t", {"answer": 1}, key=value),
    "node of an update": lambda app, value: app.update("t", goto=[value]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_value_that_is_none_of_the_possible_ones_is_refused(saver: Checkpointer, name: str) -> None:
    app = App({"ask": graph()}, saver)
    handle = await app.start("ask", {}, thread_id="t")
    async with app.worker(), asyncio.timeout(20):
        while (await handle.status()).state != "waiting":  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
    for value in ODD:
        with pytest.raises(DurableGraphError) as caught:
            await CALLS[name](app, value)
        assert len(str(caught.value)) <= 400
    assert [run.state for run in await app.runs()] == ["waiting"]
    assert (await handle.status()).attempt == 1


@pytest.mark.parametrize("value", [float("nan"), "5", True, timedelta(1), [], b""], ids=str)
async def test_a_time_limit_that_is_no_number_is_refused_before_the_run_is_accepted(
    saver: Checkpointer, value: Any
) -> None:
    app = App({"ask": graph()}, saver)
    with pytest.raises(InvalidOptionError, match="timeout"):
        await app.run("ask", {}, timeout=value)
    assert await app.runs() == []
    handle = await app.start("ask", {})
    with pytest.raises(InvalidOptionError, match="timeout"):
        await handle.result(value)


@pytest.mark.parametrize("sends", ["a signal", "an update"])
async def test_a_thread_without_an_unfinished_run_names_what_the_caller_can_do(saver: Checkpointer, sends: str) -> None:
    async def fail(state: State) -> State:
        raise ValueError

    failing = StateGraph(State).add_node("fail", fail).add_edge(START, "fail").compile()
    app = App({"ask": failing}, saver)

    async def send() -> bool:
        return await (app.signal("t", "topic", 1) if sends == "a signal" else app.update("t", {"answer": 1}))

    handle = await app.start("ask", {}, thread_id="t")
    await handle.cancel()
    with pytest.raises(ThreadCancelledError, match=r"app\.retry.*app\.start"):
        await send()
    failed = await app.start("ask", {}, thread_id="t")
    async with app.worker():
        with pytest.raises(RunFailedError):
            await failed.result(20)
    with pytest.raises(ThreadFinishedError, match=r"app\.start.*app\.retry"):
        await send()


@pytest.mark.parametrize("place", [{"checkpoint_id": "0000000000000001"}, {"checkpoint_ns": "ask:1.0"}], ids=str)
async def test_a_run_begins_at_no_other_checkpoint_than_the_newest(saver: Checkpointer, place: Any) -> None:
    app = App({"ask": graph()}, saver)
    config: Any = {"configurable": {"thread_id": "t", **place}}
    for call in (app.start, app.run):
        with pytest.raises(InvalidOptionError, match=r"checkpoint.*ainvoke"):
            await call("ask", {}, config)
    assert await app.runs() == []


async def test_an_empty_place_in_a_config_is_none(saver: Checkpointer) -> None:
    app = App({"ask": graph()}, saver)
    config: Any = {"configurable": None}
    assert await app.start("ask", {}, config)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("\ud800", "\\ud800"), ("a\0b", "a\\x00b"), ("x" * 5000, "x" * 1000), ("", "")],
    ids=["surrogate", "NUL", "long", "empty"],
)
async def test_a_run_is_cancelled_for_any_reason(saver: Checkpointer, reason: str, kept: str) -> None:
    app = App({"ask": graph()}, saver)
    handle = await app.start("ask", {})
    status = await handle.cancel(reason)
    assert (status.state, status.error) == ("cancelled", kept)


@pytest.mark.parametrize("reason", [7, None, b"x"], ids=repr)
async def test_a_reason_that_is_no_text_is_refused(saver: Checkpointer, reason: Any) -> None:
    app = App({"ask": graph()}, saver)
    handle = await app.start("ask", {})
    with pytest.raises(InvalidOptionError, match="reason"):
        await handle.cancel(reason)
    assert (await handle.status()).state == "ready"


@pytest.mark.parametrize("name", [0, None, "", "a\0b", "\ud800", "x" * 256, b"x"], ids=repr)
async def test_a_name_that_no_graph_can_have_is_refused(saver: Checkpointer, name: Any) -> None:
    with pytest.raises(InvalidOptionError, match="graphs"):
        App({name: graph()}, saver)


@pytest.mark.parametrize("context", [7, "ask", [], {"ask": 7}, {"ask": None}], ids=str)
async def test_a_context_that_no_function_makes_is_refused(saver: Checkpointer, context: Any) -> None:
    with pytest.raises(InvalidOptionError, match="context"):
        App({"ask": graph()}, saver, context=context)


@pytest.mark.parametrize("key", ["\ud800", "a\0b", 7], ids=repr)
async def test_metadata_that_no_run_can_have_is_refused(saver: Checkpointer, key: Any) -> None:
    app = App({"ask": graph()}, saver)
    impossible: list[Any] = [{key: 1}, {"x": key if isinstance(key, str) else 1.5}]
    for sought in impossible:
        with pytest.raises(InvalidOptionError, match="metadata"):
            await app.runs(metadata=sought)


@pytest.mark.parametrize("span", [timedelta.max, timedelta(days=36_500)], ids=str)
async def test_times_longer_than_the_clock_keep_everything(saver: Checkpointer, span: timedelta) -> None:
    app = App({"ask": graph()}, saver)
    handle = await app.start("ask", {})
    await handle.cancel()
    retention = read_retention(span, {"cancelled": span, "done": span})
    cleaned = await Upkeep(saver, app.store, retention).once()
    assert (cleaned.runs, cleaned.threads) == (0, 0)
    assert (await handle.status()).state == "cancelled"
    assert (await delete_expired_threads(saver, older_than=span, protect=span)).threads == 0


@pytest.mark.parametrize(
    "options",
    [
        {"lease": 0},
        {"lease": -1.0},
        {"lease": float("nan")},
        {"lease": float("inf")},
        {"lease": "10"},
        {"lease": True},
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"grace": -1},
        {"grace": None},
        {"max_crashes": 0},
    ],
    ids=str,
)
async def test_a_worker_with_impossible_options_is_refused(options: dict[str, Any]) -> None:
    app = App({"ask": graph()}, MemorySaver())
    (option,) = options
    with pytest.raises(InvalidOptionError, match=option):
        async with app.worker(**options):
            pass
    assert (await app.stats()).workers == 0


async def test_a_start_is_refused_if_nothing_makes_the_context_that_the_graph_needs(saver: Checkpointer) -> None:
    needs_context = StateGraph(State, context_schema=State).add_node("ask", ask).add_edge(START, "ask").compile()
    app = App({"ask": needs_context}, saver)
    with pytest.raises(InvalidOptionError, match="context"):
        await app.start("ask", {})
    assert await app.runs() == []
