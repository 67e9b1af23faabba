"""The lengths of containers in the state are always compared: a change in place is an error, and no result after it is
recorded."""

import asyncio
import operator
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from durable_graph import (
    START,
    CachePolicy,
    Checkpointer,
    Command,
    Durability,
    InMemoryCache,
    MemorySaver,
    Overwrite,
    RetryPolicy,
    Send,
    StateGraph,
    StateMutatedError,
    UntrackedValue,
    entrypoint,
    interrupt,
    task,
)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    notes: list[str]
    seen: dict[str, int]
    ids: set[int]
    raw: bytearray
    queue: deque[int]
    cache: Annotated[dict[str, int], UntrackedValue]


INPUT: State = {"notes": ["input"], "seen": {"a": 1}, "ids": {1}, "raw": bytearray(b"x"), "queue": deque([1])}


def one_node(action: Any, schema: Any = State, **options: Any) -> StateGraph[Any]:
    return StateGraph(schema).add_node("node", action, **options).add_edge(START, "node")


async def reads(state: State) -> State:
    return {"log": [",".join(state["notes"])]}


async def appends(state: State) -> State:
    state["notes"].append("in place")
    return {"log": ["returned"]}


CHANGES: dict[str, Callable[[State], object]] = {
    "notes": lambda state: state["notes"].append("more"),
    "seen": lambda state: state["seen"].update(b=2),
    "ids": lambda state: state["ids"].clear(),
    "raw": lambda state: state["raw"].extend(b"y"),
    "queue": lambda state: state["queue"].popleft(),
}


@pytest.mark.parametrize("key", CHANGES)
async def test_a_container_changed_in_place_is_an_error_and_no_result_is_recorded(
    saver: Checkpointer, durability: Durability, key: str
) -> None:
    async def node(state: State) -> State:
        CHANGES[key](state)
        return {"log": ["returned"]}

    graph = one_node(node).compile(saver, debug=False)
    given: Any = {name: value.copy() for name, value in INPUT.items()}  # type: ignore[attr-defined]

    with pytest.raises(StateMutatedError) as raised:
        await graph.ainvoke(given, thread_id="t", durability=durability)

    assert (raised.value.nodes, raised.value.channels) == (("node",), (key,))
    snapshot = await graph.aget_state(thread_id="t")
    assert snapshot.values == {**INPUT, "log": []}
    assert snapshot.next == ("node",)
    assert "changed in place" in (snapshot.tasks[0].error or "")


async def test_the_remedy_in_the_error_message_works(saver: Checkpointer, durability: Durability) -> None:
    with pytest.raises(StateMutatedError, match=r"such as \[\*old, item\], return it as the update, and resume"):
        await (
            one_node(appends)
            .compile(saver, debug=False)
            .ainvoke({"notes": ["old"]}, thread_id="t", durability=durability)
        )

    async def corrected(state: State) -> State:
        return {"notes": [*state["notes"], "item"]}

    graph = one_node(corrected).compile(saver, debug=False)
    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert result["notes"] == ["old", "item"]
    assert result == (await graph.aget_state(thread_id="t")).values


async def test_a_change_in_place_without_a_checkpointer_is_the_same_error() -> None:
    with pytest.raises(StateMutatedError, match="'notes'"):
        await one_node(appends).compile(debug=False).ainvoke({"notes": []})


async def test_a_plain_function_in_a_thread_is_checked_as_well(saver: Checkpointer) -> None:
    def node(state: State) -> None:
        state["notes"].append("in place")

    with pytest.raises(StateMutatedError, match="'notes'"):
        await one_node(node).compile(saver, debug=False).ainvoke({"notes": []}, thread_id="t")


async def test_a_change_in_a_nested_value_is_detected_only_with_debug(saver: Checkpointer) -> None:
    async def node(state: State) -> None:
        state["seen"]["a"] += 1

    given: State = {"seen": {"a": 1}}
    await one_node(node).compile(saver, debug=False).ainvoke(given, thread_id="t")
    with pytest.raises(StateMutatedError, match="'seen'"):
        await one_node(node).compile(saver, debug=True).ainvoke(given, thread_id="u")


async def test_a_node_that_returns_a_parent_command_is_checked_with_debug(saver: Checkpointer) -> None:
    async def node(state: State) -> Command[Any]:
        state["seen"]["a"] += 1
        return Command(graph=Command.PARENT, update={"notes": ["left"]})

    inner = one_node(node).compile(debug=True)
    with pytest.raises(StateMutatedError, match="'seen'"):
        await one_node(inner).compile(saver, debug=False).ainvoke({"seen": {"a": 1}}, thread_id="t")


async def test_an_untracked_value_may_be_changed_in_place(saver: Checkpointer) -> None:
    async def node(state: State) -> State:
        state["cache"]["more"] = 1
        return {"log": [str(len(state["cache"]))]}

    result = await one_node(node).compile(saver, debug=False).ainvoke({"cache": {}}, thread_id="t")

    assert result["log"] == ["1"]


async def test_new_values_of_another_length_are_not_a_change_in_place(
    saver: Checkpointer, durability: Durability
) -> None:
    async def node(state: State) -> State:
        return {"notes": [*state["notes"], "x"], "seen": {}, "log": ["x"]}

    async def again(state: State) -> State:
        return {"notes": [], "log": ["y", "z"]}

    graph = one_node(node).add_node("again", again).add_edge("node", "again").compile(saver, debug=False)
    result = await graph.ainvoke({"notes": ["in"], "seen": {"a": 1}}, thread_id="t", durability=durability)

    assert (result["notes"], result["seen"], result["log"]) == ([], {}, ["x", "y", "z"])


# Failures, retries, error handlers, interrupts


async def test_a_node_that_fails_after_a_change_in_place_is_not_retried(
    saver: Checkpointer, durability: Durability
) -> None:
    calls: Counter[str] = Counter()

    async def node(state: State) -> State:
        calls["node"] += 1
        state["notes"].append("in place")
        raise ConnectionError

    retry = RetryPolicy(max_attempts=3, initial_interval=0)
    graph = one_node(node, retry_policy=retry).compile(saver, debug=False)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"notes": ["input"]}, thread_id="t", durability=durability)

    assert calls["node"] == 1
    healed = one_node(reads).compile(saver, debug=False)
    assert (await healed.ainvoke(None, thread_id="t", durability=durability))["log"] == ["input"]


@pytest.mark.parametrize("fails", [True, False])
async def test_an_error_handler_is_not_called_after_a_change_in_place(saver: Checkpointer, fails: bool) -> None:
    calls: Counter[str] = Counter()

    async def node(state: State) -> State:
        state["notes"].append("in place")
        if fails:
            raise ValueError
        return {}

    async def handler(state: State) -> State:
        calls["handler"] += 1
        return {"log": state["notes"]}

    graph = one_node(node, error_handler=handler).compile(saver, debug=False)
    with pytest.raises(ValueError if fails else StateMutatedError):
        await graph.ainvoke({"notes": ["input"]}, thread_id="t")

    assert not calls
    assert (await graph.aget_state(thread_id="t")).values["notes"] == ["input"]


async def test_a_change_in_place_by_an_error_handler_is_an_error_and_only_the_handler_runs_again(
    saver: Checkpointer,
) -> None:
    calls: Counter[str] = Counter()

    async def node(state: State) -> State:
        calls["node"] += 1
        raise ValueError

    async def changing(state: State) -> State:
        state["notes"].append("in place")
        return {"log": ["handled"]}

    async def handler(state: State) -> State:
        return {"log": ["handled", *state["notes"]]}

    with pytest.raises(StateMutatedError, match="'notes'"):
        await (
            one_node(node, error_handler=changing)
            .compile(saver, debug=False)
            .ainvoke({"notes": ["input"]}, thread_id="t")
        )
    result = await one_node(node, error_handler=handler).compile(saver, debug=False).ainvoke(None, thread_id="t")

    assert result["log"] == ["handled", "input"]
    assert calls["node"] == 1


async def test_an_interrupt_after_a_change_in_place_is_not_recorded(saver: Checkpointer) -> None:
    async def node(state: State) -> State:
        state["notes"].append("in place")
        return {"log": [interrupt("go on?")]}

    graph = one_node(node).compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({"notes": []}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).interrupts == ()


async def test_an_answer_given_before_a_change_in_place_is_kept(saver: Checkpointer) -> None:
    is_corrected = False

    async def node(state: State) -> State:
        answer = interrupt("go on?")
        if not is_corrected:
            state["notes"].append("in place")
        return {"log": [answer]}

    graph = one_node(node).compile(saver, debug=False)
    await graph.ainvoke({"notes": []}, thread_id="t")
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")
    is_corrected = True

    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["yes"]


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_an_answer_changed_by_a_failed_attempt_is_passed_unchanged_to_the_retry(
    saver: Checkpointer, kind: str
) -> None:
    calls: Counter[str] = Counter()

    def plain(state: State) -> State:
        answer = interrupt("names?")
        answer.append("changed")
        calls["node"] += 1
        if calls["node"] == 1:
            raise ConnectionError
        return {"log": answer}

    async def node(state: State) -> State:
        return plain(state)

    retry = RetryPolicy(initial_interval=0)
    graph = one_node(node if kind == "async" else plain, retry_policy=retry).compile(saver, debug=False)
    await graph.ainvoke({}, thread_id="t")

    result = await graph.ainvoke(Command(resume=["amy"]), thread_id="t")

    assert result["log"] == ["amy", "changed"]


async def test_a_task_result_changed_by_a_failed_attempt_is_passed_unchanged_to_the_retry() -> None:
    calls: Counter[str] = Counter()

    @task
    async def names() -> list[str]:
        return ["amy"]

    async def node(state: State) -> State:
        found = await names()
        found.append("changed")
        calls["node"] += 1
        if calls["node"] == 1:
            raise ConnectionError
        return {"log": found}

    graph = one_node(node, retry_policy=RetryPolicy(initial_interval=0)).compile(debug=False)

    assert (await graph.ainvoke({}))["log"] == ["amy", "changed"]


# Siblings


async def test_a_sibling_that_finishes_after_a_change_in_place_is_not_recorded(
    saver: Checkpointer, durability: Durability
) -> None:
    calls: Counter[str] = Counter()
    has_finished = asyncio.Event()
    is_corrected = False

    async def fast(state: State) -> State:
        calls["fast"] += 1
        if not is_corrected:
            state["notes"].append("in place")
        has_finished.set()
        return {"log": ["fast", *state["notes"]]}

    async def slow(state: State) -> State:
        await has_finished.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        return {"log": ["slow", *state["notes"]]}

    builder = one_node(fast).add_node("slow", slow).add_edge(START, "slow")
    graph = builder.compile(saver, debug=False)
    with pytest.raises(StateMutatedError) as raised:
        await graph.ainvoke({"notes": ["input"]}, thread_id="t", durability=durability)
    assert raised.value.nodes == ("node", "slow")
    is_corrected = True

    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert result["log"] == ["fast", "input", "slow", "input"]
    assert calls["fast"] == 2
    assert result == (await graph.aget_state(thread_id="t")).values


async def test_a_sibling_recorded_before_a_change_in_place_does_not_run_again(saver: Checkpointer) -> None:
    calls: Counter[str] = Counter()
    is_corrected = False

    async def first(state: State) -> State:
        calls["first"] += 1
        return {"log": ["first"]}

    async def second(state: State) -> State:
        while not is_corrected and not (await graph.aget_state(thread_id="t")).tasks[0].result:  # noqa: ASYNC110
            await asyncio.sleep(0)
        if not is_corrected:
            state["notes"].append("in place")
        return {"log": ["second"]}

    builder = one_node(first).add_node("second", second).add_edge(START, "second")
    graph = builder.compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({"notes": []}, thread_id="t")
    is_corrected = True

    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["first", "second"]
    assert calls["first"] == 1


# Routers, nested graphs, arguments of Sends


@pytest.mark.parametrize("where", ["entry", "node"])
async def test_a_change_in_place_by_a_router_is_an_error(saver: Checkpointer, where: str) -> None:
    def route(state: State) -> str:
        state["notes"].append("in place")
        return "reads"

    async def plain(state: State) -> None:
        return None

    builder = StateGraph(State).add_node("reads", reads)
    if where == "entry":
        builder.add_conditional_edges(START, route, ["reads"])
    else:
        builder.add_node("plain", plain).add_edge(START, "plain").add_conditional_edges("plain", route, ["reads"])
    graph = builder.compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({"notes": ["input"]}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values == {"log": [], "notes": ["input"]}


@pytest.mark.parametrize("catches", [True, False])
async def test_a_change_in_place_in_a_nested_graph_fails_every_enclosing_run(
    saver: Checkpointer, durability: Durability, catches: bool
) -> None:
    calls: Counter[str] = Counter()
    is_corrected = False

    async def inside(state: State) -> State:
        if not is_corrected:
            state["notes"].append("in place")
        return {"log": state["notes"]}

    inner = one_node(inside).compile(debug=False)

    async def outer(state: State) -> State:
        calls["outer"] += 1
        try:
            found = await inner.ainvoke({"notes": ["own"]})
        except StateMutatedError:
            if catches:
                return {"log": ["caught"]}
            raise
        return {"log": found["log"]}

    retry = RetryPolicy(initial_interval=0, retry_on=Exception)
    graph = one_node(outer, retry_policy=retry).compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert calls["outer"] == 1
    is_corrected = True

    assert (await graph.ainvoke(None, thread_id="t", durability=durability))["log"] == ["own"]


async def test_a_nested_graph_that_changes_its_input_in_place_fails_the_parent(saver: Checkpointer) -> None:
    inner = one_node(appends).compile(debug=False)

    async def outer(state: State) -> State:
        with suppress(StateMutatedError):
            await inner.ainvoke({"notes": state["notes"]})
        return {"log": ["went on"]}

    graph = one_node(outer).compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({"notes": ["input"]}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values == {"log": [], "notes": ["input"]}


async def test_a_nested_result_changed_by_a_failed_attempt_is_passed_unchanged_to_the_retry(
    saver: Checkpointer, durability: Durability
) -> None:
    calls: Counter[str] = Counter()
    inner = one_node(reads).compile(debug=False)

    async def outer(state: State) -> State:
        found = await inner.ainvoke({"notes": ["own"]})
        found["notes"].append("changed")
        calls["outer"] += 1
        if calls["outer"] == 1:
            raise ConnectionError
        return {"log": found["notes"]}

    graph = one_node(outer, retry_policy=RetryPolicy(initial_interval=0)).compile(saver, debug=False)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)

    assert result["log"] == ["own", "changed"]


@dataclass
class Parcel:
    items: list[str]


class Crate(msgspec.Struct):
    items: list[str]


class Box(pydantic.BaseModel):
    items: list[str]


@pytest.mark.parametrize(
    ("argument", "change", "where"),
    [
        ({"items": ["tea"]}, lambda given: given["items"].append("x"), "items in the argument of its Send"),
        ({"items": ["tea"]}, lambda given: given.update(more=1), "the argument of its Send"),
        (["tea"], lambda given: given.append("x"), "the argument of its Send"),
        (Parcel(["tea"]), lambda given: given.items.append("x"), "items in the argument of its Send"),
        (Crate(["tea"]), lambda given: given.items.append("x"), "items in the argument of its Send"),
        (Box(items=["tea"]), lambda given: given.items.append("x"), "items in the argument of its Send"),
    ],
)
async def test_the_argument_of_a_send_is_checked(
    saver: Checkpointer, durability: Durability, argument: Any, change: Any, where: str
) -> None:
    async def work(given: Any) -> State:
        change(given)
        return {"log": ["worked"]}

    async def other(given: Any) -> State:
        return {"log": ["other"]}

    builder = StateGraph(State).add_node("work", work).add_node("other", other)
    builder.add_conditional_edges(
        START, lambda _: [Send("other", {"items": []}), Send("work", deepcopy(argument))], ["work", "other"]
    )
    graph = builder.compile(saver, debug=False, types=[Parcel, Crate, Box])
    with pytest.raises(StateMutatedError) as raised:
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert (raised.value.nodes, raised.value.channels) == (("work",), (where,))
    assert "worked" not in (await graph.aget_state(thread_id="t")).values["log"]


# Values to which user code keeps a reference


async def test_an_input_that_its_caller_changes_during_the_run_is_detected(
    saver: Checkpointer, durability: Durability
) -> None:
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def node(state: State) -> State:
        began.set()
        await goes_on.wait()
        return {"log": state["notes"]}

    given: State = {"notes": ["input"]}
    graph = one_node(node).compile(saver, debug=False)
    run = asyncio.create_task(graph.ainvoke(given, thread_id="t", durability=durability))
    await began.wait()
    given["notes"].append("later")
    goes_on.set()

    with pytest.raises(StateMutatedError, match="'notes'"):
        await run
    assert (await graph.aget_state(thread_id="t")).values == {"log": [], "notes": ["input"]}


async def test_a_result_that_is_changed_after_its_node_returned_is_detected(
    saver: Checkpointer, durability: Durability
) -> None:
    kept: list[str] = []

    async def first(state: State) -> State:
        kept.append("first")
        return {"notes": kept}

    async def second(state: State) -> State:
        kept.append("second")
        return {"log": ["second"]}

    graph = one_node(first).add_node("second", second).add_edge("node", "second").compile(saver, debug=False)
    with pytest.raises(StateMutatedError) as raised:
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert (raised.value.nodes, raised.value.channels) == (("second",), ("notes",))
    assert (await graph.aget_state(thread_id="t")).values == {"log": [], "notes": ["first"]}


async def test_a_result_that_a_sibling_changes_before_it_is_merged_is_detected(
    saver: Checkpointer, durability: Durability
) -> None:
    kept: list[str] = ["returned"]
    has_returned = asyncio.Event()

    async def first(state: State) -> State:
        has_returned.set()
        return {"notes": kept}

    async def second(state: State) -> State:
        await has_returned.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        if len(kept) == 1:
            kept.append("by a sibling")
        return {"log": ["second"]}

    graph = one_node(first).add_node("second", second).add_edge(START, "second").compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    if durability == "sync":
        # The first node's result was recorded as it was returned.
        assert (await graph.ainvoke(None, thread_id="t"))["notes"] == ["returned"]


def appended(left: list[str], right: list[str]) -> list[str]:
    return left + right


class Reduced(TypedDict, total=False):
    notes: Annotated[list[str], appended]
    log: Annotated[list[str], operator.add]


async def test_an_uncommitted_value_changed_in_place_is_stored_unchanged(
    saver: Checkpointer, durability: Durability
) -> None:
    async def first(state: Reduced) -> Reduced:
        return {"notes": ["first"]}

    async def second(state: Reduced) -> Reduced:
        state["notes"].append("in place")
        return {}

    graph = one_node(first, Reduced).add_node("second", second).add_edge("node", "second").compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({"notes": ["input"]}, thread_id="t", durability=durability)

    assert (await graph.aget_state(thread_id="t")).values["notes"] == ["input", "first"]


async def test_a_value_of_several_supersteps_changed_in_place_is_stored_unchanged(
    saver: Checkpointer, durability: Durability
) -> None:
    async def first(state: State) -> Any:
        return {"log": Overwrite(["first"])}

    async def second(state: State) -> State:
        return {"log": ["second"]}

    async def third(state: State) -> None:
        state["log"].append("in place")

    builder = one_node(first).add_node("second", second).add_node("third", third)
    graph = builder.add_edge("node", "second").add_edge("second", "third").compile(saver, debug=False)
    with pytest.raises(StateMutatedError, match="'log'"):
        await graph.ainvoke({"log": ["input"]}, thread_id="t", durability=durability)

    assert (await graph.aget_state(thread_id="t")).values == {"log": ["first", "second"]}


async def test_a_reader_of_a_stream_that_changes_streamed_values_is_detected(saver: Checkpointer) -> None:
    graph = one_node(reads).add_node("again", reads).add_edge("node", "again").compile(saver, debug=False)

    async def read() -> AsyncIterator[Any]:
        async for part in graph.astream({"notes": ["input"]}, thread_id="t", stream_mode="values"):
            part["notes"].append("by the reader")
            yield part

    with pytest.raises(StateMutatedError, match="'notes'"):
        _ = [each async for each in read()]

    assert (await graph.aget_state(thread_id="t")).values["notes"] == ["input"]


async def test_a_result_after_a_change_in_place_is_not_cached(saver: Checkpointer) -> None:
    is_corrected = False

    async def node(state: State) -> State:
        if not is_corrected:
            state["notes"].append("in place")
        return {"log": state["notes"]}

    builder = one_node(node, cache_policy=CachePolicy())
    graph = builder.compile(saver, debug=False, cache=InMemoryCache())
    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.ainvoke({"notes": ["input"]}, thread_id="t")
    is_corrected = True

    assert (await graph.ainvoke({"notes": ["input"]}, thread_id="u"))["log"] == ["input"]


# States that are instances


@dataclass
class AsDataclass:
    notes: list[str] = field(default_factory=list)
    log: Annotated[list[str], operator.add] = field(default_factory=list)


class AsStruct(msgspec.Struct):
    notes: list[str] = msgspec.field(default_factory=list)
    log: Annotated[list[str], operator.add] = msgspec.field(default_factory=list)


class AsModel(pydantic.BaseModel):
    notes: list[str] = pydantic.Field(default_factory=list)
    log: Annotated[list[str], operator.add] = pydantic.Field(default_factory=list)


INSTANCES = [AsDataclass, AsStruct, AsModel]


@pytest.mark.parametrize("schema", INSTANCES)
@pytest.mark.parametrize("given", [{"notes": ["input"]}, {}])
async def test_a_list_in_a_state_instance_is_checked(
    saver: Checkpointer, durability: Durability, schema: Any, given: Any
) -> None:
    async def node(state: Any) -> Any:
        state.notes.append("in place")
        return {"log": ["returned"]}

    graph = one_node(node, schema).compile(saver, debug=False)
    with pytest.raises(StateMutatedError) as raised:
        await graph.ainvoke({**deepcopy(given), "log": []}, thread_id="t", durability=durability)

    assert (raised.value.nodes, raised.value.channels) == (("node",), ("notes",))
    assert (await graph.aget_state(thread_id="t")).values == {**given, "log": []}


async def test_a_list_copied_by_a_pydantic_model_may_be_changed_and_returned(saver: Checkpointer) -> None:
    """pydantic copies the lists that it is given: no other object refers to the copies."""

    async def node(state: AsModel) -> Any:
        state.notes.append("more")
        return {"notes": state.notes}

    graph = one_node(node, AsModel).compile(saver, debug=False)

    assert (await graph.ainvoke({"notes": ["input"]}, thread_id="t"))["notes"] == ["input", "more"]


# The functional API, and the error itself


async def test_a_change_in_place_of_the_previous_value_of_an_entrypoint_is_an_error(saver: Checkpointer) -> None:
    is_corrected = False

    @entrypoint(checkpointer=saver)
    async def flow(given: list[int], *, previous: list[int] | None = None) -> list[int]:
        if previous is None:
            return given
        if not is_corrected:
            previous.append(2)
        return [*previous, *given]

    await flow.ainvoke([1], thread_id="t")
    with pytest.raises(StateMutatedError):
        await flow.ainvoke([3], thread_id="t")
    is_corrected = True

    assert await flow.ainvoke(None, thread_id="t") == [1, 3]


async def test_the_error_message_stays_short_with_many_long_names() -> None:
    error = StateMutatedError([f"node {'x' * 500} {number}" for number in range(9)], ["k" * 1000] * 3 + ["l"])

    assert len(str(error)) <= 400
    assert len(error.nodes) == 9


async def test_a_change_in_place_by_a_router_during_an_edit_is_an_error() -> None:
    def route(state: State) -> str:
        state["notes"].append("in place")
        return "reads"

    async def plain(state: State) -> None:
        return None

    builder = one_node(plain).add_node("reads", reads).add_conditional_edges("node", route, ["reads"])
    graph = builder.compile(MemorySaver(), debug=False, interrupt_before=["node"])
    await graph.ainvoke({"notes": ["input"]}, thread_id="t")

    with pytest.raises(StateMutatedError, match="'notes'"):
        await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["edited"]}, as_node="node")

    assert (await graph.aget_state(thread_id="t")).values == {"log": [], "notes": ["input"]}
