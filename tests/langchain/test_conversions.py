"""Writes to a channel of LangChain's messages: conversion, ids, and replacement and removal by id."""

from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages import RemoveMessage as LangChainsRemoval

from durable_graph import (
    REMOVE_ALL_MESSAGES,
    START,
    Checkpointer,
    GraphChangedError,
    InvalidOptionError,
    InvalidStateValueError,
    MessagesState,
    Overwrite,
    RemoveMessage,
    StateGraph,
    add_messages,
)
from tests.errors.kinds import of_kind
from tests.langchain.conftest import Reopen


def writing(*updates: Any, state: Any = MessagesState, **options: Any) -> Any:
    """A graph with a node for each update, in sequence."""
    described, last = StateGraph(state), START
    for number, update in enumerate(updates):
        name = f"node {number}"
        described.add_node(name, lambda _, update=update: {"messages": update}).add_edge(last, name)
        last = name
    return described.compile(**options)


def said(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    return [(type(message).__name__, message.text) for message in messages]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("hi", ("HumanMessage", "hi")),
        (("user", "hi"), ("HumanMessage", "hi")),
        (("ai", "hi"), ("AIMessage", "hi")),
        ({"role": "user", "content": "hi"}, ("HumanMessage", "hi")),
        ({"role": "system", "content": "hi"}, ("SystemMessage", "hi")),
        ({"type": "human", "content": "hi"}, ("HumanMessage", "hi")),
        ({"role": "tool", "content": "hi", "tool_call_id": "c"}, ("ToolMessage", "hi")),
        (HumanMessage("hi"), ("HumanMessage", "hi")),
        (AIMessageChunk(content="hi"), ("AIMessage", "hi")),
    ],
    ids=repr,
)
async def test_each_format_of_a_message_is_converted(saver: Checkpointer, given: Any, expected: Any) -> None:
    result = await writing([given], checkpointer=saver).ainvoke({"messages": [given]}, thread_id="t")

    assert said(result["messages"]) == [expected, expected]
    first, second = (message.id for message in result["messages"])
    assert first is not None
    assert second is not None
    assert first != second


async def test_a_message_gets_an_id_before_it_is_stored_and_keeps_it(saver: Checkpointer, reopen: Reopen) -> None:
    mine = AIMessage("hello")
    graph = writing(mine, [], checkpointer=saver)

    result = await graph.ainvoke({"messages": "hi"}, thread_id="t")

    assert mine.id is None
    graph = writing(mine, [], checkpointer=await reopen())
    assert (await graph.aget_state(thread_id="t")).values == result
    shown = [step.values["messages"][:1] async for step in graph.aget_state_history(thread_id="t") if step.values]
    assert all(each == result["messages"][:1] for each in shown)


async def test_messages_are_replaced_and_removed_by_id(saver: Checkpointer) -> None:
    graph = writing(
        [HumanMessage("A", id="a"), {"role": "ai", "content": "c", "id": "c"}],
        [LangChainsRemoval(id="b"), RemoveMessage("c"), {"role": "remove", "id": "d"}],
        checkpointer=saver,
    )
    given = [HumanMessage(id_, id=id_) for id_ in "abd"]

    assert said((await graph.ainvoke({"messages": given}, thread_id="t"))["messages"]) == [("HumanMessage", "A")]


async def test_an_id_used_twice_in_a_write_belongs_to_the_last_message(saver: Checkpointer) -> None:
    graph = writing([("ai", "between"), HumanMessage("C", id="c")], checkpointer=saver)
    twice = [HumanMessage("a", id="a"), HumanMessage("b", id="b"), {"role": "ai", "content": "A", "id": "a"}]

    result = await graph.ainvoke({"messages": twice}, thread_id="t")
    stored = (await graph.aget_state(thread_id="t")).values

    expected = [("AIMessage", "A"), ("HumanMessage", "b"), ("AIMessage", "between"), ("HumanMessage", "C")]
    assert said(result["messages"]) == said(stored["messages"]) == expected


async def test_the_removal_of_a_missing_message_is_refused_and_a_repeated_removal_removes_once(
    saver: Checkpointer,
) -> None:
    graph = writing(
        [LangChainsRemoval(id="a"), LangChainsRemoval(id="b"), LangChainsRemoval(id="a")], checkpointer=saver
    )
    given = [HumanMessage(id_, id=id_) for id_ in "abc"]

    assert said((await graph.ainvoke({"messages": given}, thread_id="t"))["messages"]) == [("HumanMessage", "c")]
    with pytest.raises(
        InvalidStateValueError, check=of_kind("rule"), match="'messages': there is no message with the id 'a' to remove"
    ):
        await graph.ainvoke({"messages": []}, thread_id="t")
    assert said((await graph.aget_state(thread_id="t")).values["messages"]) == [("HumanMessage", "c")]
    repaired = await graph.ainvoke({"messages": [HumanMessage("a", id="a"), HumanMessage("b", id="b")]}, thread_id="t")
    assert said(repaired["messages"]) == [("HumanMessage", "c")]


async def test_remove_all_messages_removes_the_messages_before_it(saver: Checkpointer) -> None:
    graph = writing([LangChainsRemoval(id=REMOVE_ALL_MESSAGES), ("ai", "new")], checkpointer=saver)
    result = await graph.ainvoke({"messages": ["a", "b"]}, thread_id="t")
    assert said(result["messages"]) == [("AIMessage", "new")]


async def test_an_overwrite_is_converted_as_well(saver: Checkpointer) -> None:
    graph = writing(Overwrite([("ai", "new")]), checkpointer=saver)
    result = await graph.ainvoke({"messages": ["a"]}, thread_id="t")
    assert said(result["messages"]) == [("AIMessage", "new")]
    assert result["messages"][0].id


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        {"content": "no role"},
        ("user", "a", "b"),
        {"role": "nobody", "content": "x"},
        RemoveMessage("unknown"),
        object(),
    ],
    ids=["number", "no role", "triple", "unknown role", "unknown id", "object"],
)
async def test_an_invalid_message_is_refused_and_the_thread_stays_usable(saver: Checkpointer, wrong: Any) -> None:
    graph = writing([wrong], checkpointer=saver)

    with pytest.raises(InvalidStateValueError, check=of_kind("rule"), match="messages") as refused:
        await graph.ainvoke({"messages": "hi"}, thread_id="t")

    assert len(str(refused.value)) <= 400
    assert "node 0" in str(refused.value)
    repaired = writing([("ai", "ok")], checkpointer=saver)
    assert said((await repaired.ainvoke(None, thread_id="t"))["messages"])[-1] == ("AIMessage", "ok")


class Formatted(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages(format="langchain-openai")]


async def test_contents_are_formatted(saver: Checkpointer) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}}
    graph = writing([], state=Formatted, checkpointer=saver)

    result = await graph.ainvoke({"messages": [{"role": "user", "content": [image]}]}, thread_id="t")

    (message,) = result["messages"]
    assert message.content == [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}}]
    assert message.id


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'langchain-openai', not 'xml'"):
        add_messages([], "hi", format="xml")


def last_two(left: list[Any], right: Any) -> list[Any]:
    return add_messages(left, right)[-2:]


class Trimmed(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], last_two]


async def test_ids_given_by_a_custom_reducer_are_kept(saver: Checkpointer, reopen: Reopen) -> None:
    seen: list[list[str]] = []

    def route(state: Trimmed) -> str:
        seen.append([str(message.id) for message in state["messages"]])
        return "__end__"

    def graph(saver: Checkpointer) -> Any:
        described = StateGraph(Trimmed).add_node("node", lambda _: {"messages": [("ai", "b"), ("ai", "c")]})
        return described.add_edge(START, "node").add_conditional_edges("node", route).compile(saver)

    result = await graph(saver).ainvoke({"messages": ["a"]}, thread_id="t")

    assert said(result["messages"]) == [("AIMessage", "b"), ("AIMessage", "c")]
    assert seen == [[message.id for message in result["messages"]]]
    assert len(set(seen[0])) == 2
    assert (await graph(await reopen()).aget_state(thread_id="t")).values == result


def test_a_direct_call_of_add_messages_converts_and_gives_ids() -> None:
    merged = add_messages(["a"], [("ai", "b"), ToolMessage("c", tool_call_id="1")])
    assert said(merged) == [("HumanMessage", "a"), ("AIMessage", "b"), ("ToolMessage", "c")]
    assert len({message.id for message in merged} - {None}) == 3
    assert add_messages(["a"], [("ai", "b"), ToolMessage("c", tool_call_id="1")]) == merged


# Messages of LangChain or dicts


async def test_messages_stay_dicts_with_the_option_dict(saver: Checkpointer) -> None:
    graph = writing([{"content": "b"}], checkpointer=saver, messages="dict")
    result = await graph.ainvoke({"messages": [{"content": "a", "id": "1"}]}, thread_id="t")
    assert result["messages"][0] == {"content": "a", "id": "1"}
    assert result["messages"][1]["content"] == "b"


async def test_a_custom_reducer_keeps_dicts_with_the_option_dict(saver: Checkpointer) -> None:
    class OfDicts(TypedDict, total=False):
        messages: Annotated[list[Any], last_two]

    graph = writing([{"content": "b"}], state=OfDicts, checkpointer=saver, messages="dict")
    result = await graph.ainvoke({"messages": [{"content": "a"}]}, thread_id="t")
    assert result == {"messages": [{"content": "a"}, {"content": "b"}]}


async def test_a_list_that_is_declared_with_dicts_keeps_dicts(saver: Checkpointer) -> None:
    class OfDicts(TypedDict, total=False):
        messages: Annotated[list[dict[str, str]], add_messages]

    result = await writing([{"content": "b", "id": "1"}], state=OfDicts, checkpointer=saver).ainvoke({}, thread_id="t")
    assert result == {"messages": [{"content": "b", "id": "1"}]}


@pytest.mark.parametrize(("first", "second"), [("dict", "auto"), ("langchain", "dict")])
async def test_a_thread_keeps_the_kind_of_messages_that_it_was_started_with(
    saver: Checkpointer, reopen: Reopen, first: str, second: str
) -> None:
    given = {"role": "user", "content": "hi", "id": "1"}
    begun = await writing([], checkpointer=saver, messages=first).ainvoke({"messages": [given]}, thread_id="t")

    other = writing([], checkpointer=await reopen(), messages=second)
    for call in (other.aget_state(thread_id="t"), other.ainvoke({"messages": [given]}, thread_id="t")):
        with pytest.raises(GraphChangedError, check=of_kind("channel"), match="messages"):
            await call

    again = writing([], checkpointer=await reopen(), messages=first)
    assert (await again.aget_state(thread_id="t")).values == begun


def test_an_unknown_kind_of_messages_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="'auto', 'langchain' or 'dict'"):
        writing([], messages="openai")
