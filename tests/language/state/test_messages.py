"""`add_messages` as the reducer of a channel whose messages are dicts, or objects of the user's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from durable_graph import (
    END,
    REMOVE_ALL_MESSAGES,
    Checkpointer,
    Command,
    Durability,
    GraphValidationError,
    InvalidStateValueError,
    MessagesState,
    Overwrite,
    RemoveMessage,
    add_messages,
)
from durable_graph.records import ValueKind
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, OnceError, chain_of, fails_once, fan_out_of
from tests.language.state.conftest import Reopen

A, B, C = ({"id": id_, "content": id_} for id_ in "abc")


async def test_messages_are_added_replaced_and_removed(saver: Checkpointer, durability: Durability) -> None:
    new = {"id": "a", "content": "new"}
    nodes = ("add", {"messages": [B, C]}), ("replace", {"messages": new}), ("remove", {"messages": RemoveMessage("b")})
    graph = chain_of(MessagesState, Inputs(), *nodes).compile(saver, messages="dict")

    result = await graph.ainvoke({"messages": [A]}, thread_id="t", durability=durability)

    assert result == {"messages": [new, C]}
    assert (await graph.aget_state(thread_id="t")).values == result


async def test_remove_all_messages_removes_all_messages_before_it(saver: Checkpointer, reopen: Reopen) -> None:
    graph = chain_of(MessagesState, Inputs(), ("a", {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), C]}))

    await graph.compile(saver, messages="dict").ainvoke({"messages": [A, B]}, thread_id="t")

    assert (await graph.compile(await reopen(), messages="dict").aget_state(thread_id="t")).values == {"messages": [C]}


async def test_a_message_gets_an_id_when_it_is_written_and_keeps_it(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    mine = {"role": "assistant", "content": "hi"}
    graph = chain_of(MessagesState, Inputs(), ("a", {"messages": mine}), ("b", {}))

    result = await graph.compile(saver, messages="dict").ainvoke(
        {"messages": {"role": "user", "content": "hello"}}, thread_id="t", durability=durability
    )

    ids = [message["id"] for message in result["messages"]]
    assert [len(id_) for id_ in ids] == [32, 32]
    assert len(set(ids)) == 2
    assert "id" not in mine
    assert (await graph.compile(await reopen(), messages="dict").aget_state(thread_id="t")).values == result


async def test_a_router_and_the_stream_see_the_ids_that_are_stored(saver: Checkpointer) -> None:
    routed: list[Any] = []

    def route(state: MessagesState) -> str:
        routed.extend(state["messages"])
        return END

    builder = chain_of(MessagesState, Inputs(), ("a", {"messages": {"content": "hi"}}))
    builder.add_conditional_edges("a", route)
    graph = builder.compile(saver, messages="dict")

    streamed = [part async for part in graph.astream({"messages": []}, thread_id="t", stream_mode="updates")]

    stored = (await graph.aget_state(thread_id="t")).values["messages"]
    assert routed == stored == streamed[0]["a"]["messages"]


async def test_a_recorded_message_has_its_id_in_another_process(saver: Checkpointer, reopen: Reopen) -> None:
    nodes = ("a", {"messages": {"content": "of a"}}), ("b", fails_once({"messages": {"content": "of b"}}))
    graph = fan_out_of(MessagesState, Inputs(), *nodes, then=("end", {}))
    with pytest.raises(OnceError):
        await graph.compile(saver, messages="dict").ainvoke({"messages": []}, thread_id="t")
    (recorded,) = (await graph.compile(saver, messages="dict").aget_state(thread_id="t")).values["messages"]

    result = await graph.compile(await reopen(), messages="dict").ainvoke(None, thread_id="t")

    assert result["messages"][0] == recorded
    assert [message["content"] for message in result["messages"]] == ["of a", "of b"]


async def test_each_superstep_stores_only_the_messages_that_it_wrote(saver: Checkpointer) -> None:
    graph = chain_of(MessagesState, Inputs(), ("a", {"messages": {"content": "short"}})).compile(saver, messages="dict")
    await graph.ainvoke({"messages": [{"content": "long" * 1000}]}, thread_id="t")
    for _ in range(3):
        await graph.ainvoke({"messages": []}, thread_id="t")

    stored = await saver.load("t")

    assert stored is not None
    rows = [row for row in stored.values if row.channel == "messages"]
    assert {row.kind for row in rows} == {ValueKind.DELTA}
    assert sorted(len(row.value) for row in rows)[-2] < 100


@pytest.mark.parametrize("update", ["hi", ["hi"], [("user", "hi")]])
async def test_an_invalid_message_fails_the_node_that_wrote_it(saver: Checkpointer, update: Any) -> None:
    graph = chain_of(MessagesState, Inputs(), ("a", {"messages": update})).compile(saver, messages="dict")

    with pytest.raises(
        InvalidStateValueError,
        check=of_kind("rule"),
        match=r"node 'a' cannot be written.*'messages'.*write a dict like",
    ):
        await graph.ainvoke({"messages": []}, thread_id="t")
    with pytest.raises(InvalidStateValueError, check=of_kind("rule"), match="the input cannot be written"):
        await graph.ainvoke({"messages": update}, thread_id="u")


async def test_removing_an_unknown_message_fails_the_node_and_the_thread_can_be_resumed(saver: Checkpointer) -> None:
    names = iter(["x", "a"])
    graph = chain_of(MessagesState, Inputs(), ("a", lambda _: {"messages": RemoveMessage(next(names))})).compile(
        saver, messages="dict"
    )

    with pytest.raises(
        InvalidStateValueError, check=of_kind("rule"), match="no message with the id 'x' to remove"
    ) as raised:
        await graph.ainvoke({"messages": [A, B]}, thread_id="t")

    assert (raised.value.key, raised.value.where) == ("messages", "the result of node 'a'")
    assert await graph.ainvoke(None, thread_id="t") == {"messages": [B]}


async def test_a_node_may_remove_a_message_that_it_added(saver: Checkpointer) -> None:
    parts = [{"messages": A}, Command(update={"messages": RemoveMessage("a")})]

    assert await chain_of(MessagesState, Inputs(), ("a", parts)).compile(saver, messages="dict").ainvoke(
        {"messages": [B]}, thread_id="t"
    ) == {"messages": [B]}


async def test_two_nodes_may_remove_the_same_message(saver: Checkpointer) -> None:
    removes = {"messages": RemoveMessage("a")}
    graph = fan_out_of(MessagesState, Inputs(), ("a", removes), ("b", removes), then=("end", {})).compile(
        saver, messages="dict"
    )

    assert await graph.ainvoke({"messages": [A, B]}, thread_id="t") == {"messages": [B]}


async def test_messages_of_an_overwrite_get_ids_as_well(saver: Checkpointer, reopen: Reopen) -> None:
    graph = chain_of(MessagesState, Inputs(), ("a", {"messages": Overwrite([{"content": "new"}, C])}))

    result = await graph.compile(saver, messages="dict").ainvoke({"messages": [A, B]}, thread_id="t")

    assert [message["content"] for message in result["messages"]] == ["new", "c"]
    assert len(result["messages"][0]["id"]) == 32
    assert (await graph.compile(await reopen(), messages="dict").aget_state(thread_id="t")).values == result


async def test_an_overwrite_that_removes_a_message_that_it_does_not_contain_is_refused(saver: Checkpointer) -> None:
    graph = chain_of(MessagesState, Inputs(), ("a", {"messages": Overwrite([RemoveMessage("a")])})).compile(
        saver, messages="dict"
    )

    with pytest.raises(InvalidStateValueError, check=of_kind("rule"), match="no message with the id 'a'"):
        await graph.ainvoke({"messages": [A]}, thread_id="t")


# Types of messages


@dataclass(frozen=True)
class Said:
    content: str
    id: str | None = None


class Struct(msgspec.Struct, frozen=True):
    content: str
    id: str | None = None


class Model(pydantic.BaseModel):
    content: str
    id: str | None = None


class WithMore(MessagesState):
    documents: list[str]


class OfDataclasses(TypedDict, total=False):
    messages: Annotated[list[Said], add_messages]


class OfSeveral(TypedDict, total=False):
    messages: Annotated[Sequence[Said | Struct | Model], add_messages]


class OfAnything(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]


class Bare(TypedDict, total=False):
    messages: Annotated[list, add_messages]  # type: ignore[type-arg]  # what users write


@pytest.mark.parametrize(
    ("schema", "cls"),
    [
        (OfDataclasses, Said),
        (OfSeveral, Said),
        (OfSeveral, Struct),
        (OfSeveral, Model),
        (OfAnything, Said),
        (OfAnything, Struct),
        (Bare, Model),
        (WithMore, Said),
    ],
)
async def test_messages_round_trip_with_their_types(saver: Checkpointer, reopen: Reopen, schema: Any, cls: Any) -> None:
    nodes = (
        ("a", {"messages": [cls(content="one"), cls(content="two", id="b")]}),
        ("b", {"messages": RemoveMessage("b")}),
    )
    graph = chain_of(schema, Inputs(), *nodes)

    result = await graph.compile(saver, messages="dict", types=[cls]).ainvoke({"messages": []}, thread_id="t")

    (left,) = (await graph.compile(await reopen(), messages="dict", types=[cls]).aget_state(thread_id="t")).values[
        "messages"
    ]
    assert result["messages"] == [left]
    assert (type(left), left.content, len(left.id)) == (cls, "one", 32)


def test_a_user_class_may_have_the_name_of_a_class_of_the_library() -> None:
    class RemoveMessage(msgspec.Struct):  # as in another library
        id: str

    graph = chain_of(MessagesState, Inputs(), ("a", {})).compile(
        types=[("RemoveMessage", RemoveMessage)], messages="dict"
    )

    assert graph.topology.channels["messages"].stores_updates


def test_messages_that_are_not_declared_as_a_list_are_refused_at_compile_time() -> None:
    class Wrong(TypedDict, total=False):
        messages: Annotated[dict[str, Any], add_messages]

    with pytest.raises(
        GraphValidationError, check=of_kind("graph"), match=r"Wrong\.messages: add_messages merges a list"
    ):
        chain_of(Wrong, Inputs(), ("a", {})).compile()


async def test_a_custom_reducer_may_use_add_messages(saver: Checkpointer, reopen: Reopen) -> None:
    def last_two(left: list[Any], right: Any) -> list[Any]:
        return list(add_messages(left, right))[-2:]

    class Trimmed(TypedDict, total=False):
        messages: Annotated[list[Any], last_two]

    graph = chain_of(Trimmed, Inputs(), ("a", {"messages": [B]}), ("b", {"messages": C}))

    result = await graph.compile(saver, messages="dict").ainvoke({"messages": [A]}, thread_id="t")

    assert (
        result
        == (await graph.compile(await reopen(), messages="dict").aget_state(thread_id="t")).values
        == {"messages": [B, C]}
    )
