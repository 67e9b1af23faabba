"""The values of interrupts and answers are stored and round-trip unchanged."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pytest

from durable_graph import START, Checkpointer, Command, Durability, StateGraph, UnstorableValueError, interrupt
from tests.graphs import Nodes, chain, interrupts_of, questions_of


class Reply(msgspec.Struct):
    approved: bool
    note: str = ""


class Kept(TypedDict, total=False):
    first: Any
    second: Any


def asking_twice(question: Any = "first?") -> StateGraph[Kept]:
    """A graph of one node that interrupts twice, so that the first answer is read from the store."""

    async def ask(state: Kept) -> Kept:
        return {"first": interrupt(question), "second": interrupt("second?")}

    builder = StateGraph(Kept)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(0, id="zero"),
        pytest.param(False, id="false"),
        pytest.param("", id="an empty text"),
        pytest.param([], id="an empty list"),
        pytest.param((1, ("two", None)), id="tuples"),
        pytest.param({1: "one", 2: {"deep": [b"bytes", 3.5]}}, id="a dict of ints"),
        pytest.param({"approved": True}, id="a dict of text"),
        pytest.param(Decimal("1.10"), id="a decimal"),
        pytest.param(uuid.UUID(int=7), id="a uuid"),
        pytest.param(datetime(2026, 1, 2, tzinfo=UTC), id="a time"),
        pytest.param({"a", "b"}, id="a set"),
        pytest.param(Reply(approved=True, note="fine"), id="a struct"),
    ],
)
async def test_an_answer_round_trips_with_its_type(saver: Checkpointer, durability: Durability, value: object) -> None:
    graph = asking_twice().compile(saver, types=[Reply])
    await graph.ainvoke({}, thread_id="t", durability=durability)
    await graph.ainvoke(Command(resume=value), thread_id="t", durability=durability)

    result = await graph.ainvoke(Command(resume="done"), thread_id="t", durability=durability)

    assert result == {"first": value, "second": "done"}
    assert type(result["first"]) is type(value)


@pytest.mark.parametrize("value", [None, 0, "", (1, 2), {"a": (1, 2)}, Reply(approved=False)])
async def test_an_interrupt_may_have_any_storable_value(saver: Checkpointer, value: object) -> None:
    graph = asking_twice(value).compile(saver, types=[Reply])
    result = await graph.ainvoke({}, thread_id="t")

    again = asking_twice(value).compile(saver, types=[Reply])
    snapshot = await again.aget_state(thread_id="t")

    assert questions_of(result) == questions_of(snapshot.interrupts) == [value]
    assert type(snapshot.interrupts[0].value) is type(value)


async def test_none_is_an_answer(saver: Checkpointer, durability: Durability) -> None:
    """Reference P15: an error in every version of LangGraph."""
    graph = asking_twice().compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)
    result = await graph.ainvoke(Command(resume=None), thread_id="t", durability=durability)

    assert questions_of(result) == ["second?"]
    assert await graph.ainvoke(Command(resume=None), thread_id="t", durability=durability) == {
        "first": None,
        "second": None,
    }


async def test_none_is_an_answer_in_a_map_as_well(saver: Checkpointer) -> None:
    graph = asking_twice().compile(saver)
    result = await graph.ainvoke({}, thread_id="t")
    (question,) = interrupts_of(result)

    result = await graph.ainvoke(Command(resume={question.id: None}), thread_id="t")

    assert questions_of(result) == ["second?"]


async def test_a_dict_that_names_no_interrupt_is_the_answer_itself(saver: Checkpointer) -> None:
    graph = asking_twice().compile(saver)
    await graph.ainvoke({}, thread_id="t")

    await graph.ainvoke(Command(resume={"approved": True, "by": "me"}), thread_id="t")
    result = await graph.ainvoke(Command(resume="x"), thread_id="t")

    assert result["first"] == {"approved": True, "by": "me"}


async def test_an_unstorable_interrupt_value_fails_the_node_and_names_the_type(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = asking_twice(object()).compile(saver)

    with pytest.raises(UnstorableValueError, match="object") as raised:
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert raised.value.type_name == "object"
    assert (await graph.aget_state(thread_id="t")).next == ("ask",)


async def test_an_unstorable_answer_is_refused_and_the_interrupt_stays_open(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(UnstorableValueError, match="object"):
        await graph.ainvoke(Command(resume=object()), thread_id="t")

    assert nodes.calls == {"ask": 1}
    assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["sure?"]
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["ask:yes"]}
