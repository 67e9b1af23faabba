"""A value of another class than declared is converted without loss, so that live and restored state agree."""

import dataclasses
import operator
from enum import IntEnum, StrEnum
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import Checkpointer, Durability, Send, StateGraph, UnstorableValueError, entrypoint, task
from tests.graphs import Inputs, OnceError, chain_of, fails_once, fan_out_of
from tests.language.state.conftest import Reopen


class Color(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 2


def larger(left: float, right: float) -> float:
    # The result is an int where a float is declared, as is usual in reducers.
    return int(max(left, right))


class State(TypedDict, total=False):
    price: float
    name: str
    names: Annotated[list[str], operator.add]
    scores: dict[str, float]
    total: Annotated[float, operator.add]
    top: Annotated[float, larger]


GIVEN: dict[str, Any] = {
    "price": 3,
    "name": Color.RED,
    "names": ["a", Color.RED],
    "scores": {Color.RED: 1, "b": 0.5},
    "total": 2,
    "top": 7,
}
TAKEN: dict[str, Any] = {
    "price": 3.0,
    "name": "red",
    "names": ["a", "red"],
    "scores": {"red": 1.0, "b": 0.5},
    "total": 2.0,
    "top": 7.0,
}


def classes(value: Any) -> Any:
    """The value with the classes of its parts, because equal values may have different classes."""
    if isinstance(value, dict):
        return {(type(key), key): classes(item) for key, item in value.items()}
    return (type(value), [classes(item) for item in value] if isinstance(value, list) else value)


async def test_the_next_node_the_result_and_the_store_have_the_converted_values(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    seen = Inputs()
    described = chain_of(State, seen, ("a", GIVEN), ("b", {}))

    result = await described.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    stored = (await described.compile(await reopen()).aget_state(thread_id="t")).values
    assert classes(seen.of("b")[0]) == classes(result) == classes(stored) == classes(TAKEN)


async def test_values_are_converted_without_a_checkpointer() -> None:
    seen = Inputs()

    result = await chain_of(State, seen, ("a", GIVEN), ("b", {})).compile().ainvoke({})

    assert classes(seen.of("b")[0]) == classes(result) == classes(TAKEN)


async def test_inputs_and_edits_are_converted(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {})).compile(saver)

    result = await graph.ainvoke(GIVEN, thread_id="t")
    config = await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"price": 5, "total": 1}, as_node="a")

    assert classes(result) == classes(TAKEN)
    assert classes((await graph.aget_state(config)).values) == classes({**TAKEN, "price": 5.0, "total": 3.0})


async def test_a_replay_returns_the_converted_result(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    nodes = ("a", {"price": 3}), ("b", fails_once({"name": Color.RED}))
    described = fan_out_of(State, seen := Inputs(), *nodes, then=("end", {}))
    with pytest.raises(OnceError):
        await described.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    result = await described.compile(await reopen()).ainvoke(None, thread_id="t")

    assert (type(result["price"]), type(result["name"])) == (float, str)
    assert [name for name, _ in seen.calls] == ["a", "b", "b", "end"]


async def test_a_value_that_cannot_be_converted_without_loss_is_refused(saver: Checkpointer) -> None:
    for update in ({"name": True}, {"price": 2**53 + 1}, {"price": "3"}, {"names": ("a",)}):
        graph = chain_of(State, Inputs(), ("a", update)).compile(saver)
        with pytest.raises(UnstorableValueError):
            await graph.ainvoke({}, thread_id=str(update))


async def test_the_writes_for_a_custom_reducer_are_converted_to_the_type_of_its_key(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    class Reduced(TypedDict, total=False):
        count: Annotated[int, operator.add]
        words: Annotated[list[str], lambda left, right: [*left, *right]]

    update = {"count": Level.HIGH, "words": ["a", Color.RED]}
    described = chain_of(Reduced, Inputs(), ("a", update), ("b", {}))

    result = await described.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    stored = (await described.compile(await reopen()).aget_state(thread_id="t")).values
    unstored = await described.compile(debug=False).ainvoke({})
    assert classes(result) == classes(stored) == classes(unstored) == classes({"count": 2, "words": ["a", "red"]})


async def test_the_default_of_a_key_with_a_reducer_is_converted(saver: Checkpointer) -> None:
    @dataclasses.dataclass
    class Counted:
        total: Annotated[float, operator.add] = 10
        name: str = ""

    for checkpointer in (saver, None):
        graph = chain_of(Counted, Inputs(), ("a", {"name": "n"})).compile(checkpointer)
        result = await graph.ainvoke({}, thread_id="t" if checkpointer else None)
        assert classes(result) == classes({"total": 10.0, "name": "n"})


async def test_the_argument_of_a_send_agrees_with_its_stored_form(saver: Checkpointer, reopen: Reopen) -> None:
    @dataclasses.dataclass
    class Order:
        price: float

    arguments: list[Order] = []

    def pay(order: Order) -> State:
        arguments.append(order)
        if len(arguments) == 1:
            raise OnceError
        return {}

    described: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    described.add_node("a", lambda _: None).add_node("pay", pay, input_schema=Order)
    described.add_edge("__start__", "a").add_conditional_edges("a", lambda _: [Send("pay", Order(3))], ["pay"])
    with pytest.raises(OnceError):
        await described.compile(saver).ainvoke({}, thread_id="t")
    await described.compile(await reopen()).ainvoke(None, thread_id="t")

    assert [type(order.price) for order in arguments] == [float, float]


async def test_the_argument_of_a_send_is_converted_with_and_without_a_checkpointer(saver: Checkpointer) -> None:
    @dataclasses.dataclass
    class Order:
        price: float
        names: list[str]

    arguments: list[Any] = []
    described: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    described.add_node("pay", arguments.append, input_schema=Order)
    described.add_conditional_edges("__start__", lambda _: [Send("pay", Order(3, [Color.RED]))], ["pay"])
    for checkpointer in (saver, None):
        await described.compile(checkpointer, debug=False).ainvoke({}, thread_id="t" if checkpointer else None)

    assert [(type(order.price), type(order.names[0])) for order in arguments] == [(float, str)] * 2


async def test_a_send_may_have_an_unstorable_argument_without_a_checkpointer() -> None:
    carried = {"handle": object(), "price": 3}
    arguments: list[Any] = []
    described: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    described.add_node("pay", arguments.append)
    described.add_conditional_edges("__start__", lambda _: [Send("pay", carried)], ["pay"])

    await described.compile(debug=False).ainvoke({})

    assert arguments == [carried]


async def test_the_result_of_a_task_is_converted_to_its_annotation_before_and_after_a_replay(
    saver: Checkpointer,
) -> None:
    got: list[Any] = []

    @task
    async def price() -> float:
        return 3

    @entrypoint(checkpointer=saver)
    async def flow(_: Any) -> str:
        got.append(await price())
        if len(got) == 1:
            raise OnceError
        return "done"

    with pytest.raises(OnceError):
        await flow.ainvoke(1, thread_id="t")
    await flow.ainvoke(None, thread_id="t")

    assert [type(each) for each in got] == [float, float]
