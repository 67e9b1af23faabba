"""LangChain's messages and documents round-trip with their types, wherever a graph stores values."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    ToolMessageChunk,
)
from pydantic import Field

from durable_graph import (
    START,
    Checkpointer,
    Command,
    MessagesState,
    Send,
    StateGraph,
    StoredType,
    UnstorableValueError,
    add_messages,
    entrypoint,
    interrupt,
    task,
)
from durable_graph.codec import Codec
from durable_graph.codec.codec import TypeCodec
from durable_graph.errors import DecodeError
from durable_graph_langchain.stored import TYPES, stored
from tests.langchain.conftest import Reopen

CALL = {"name": "search", "args": {"query": "tea", "limit": 3}, "id": "call-1", "type": "tool_call"}
USAGE = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}

MESSAGES = [
    HumanMessage("hi", id="1"),
    HumanMessage(
        [{"type": "text", "text": "hi"}, {"type": "image", "base64": "AAAA", "mime_type": "image/png"}], id="2"
    ),
    AIMessage("hello", id="3", response_metadata={"model": "m", "logprobs": None}, usage_metadata=USAGE),
    AIMessage("", id="4", tool_calls=[CALL], additional_kwargs={"reasoning": ["a", {"b": 1.5}]}, name="agent"),
    AIMessage("", id="5", invalid_tool_calls=[{"name": "f", "args": "{", "id": "c", "error": "cut"}]),
    SystemMessage("be kind", id="6"),
    ToolMessage("found", id="7", tool_call_id="call-1", artifact={"rows": [1, 2]}, status="error"),
    FunctionMessage(content="done", id="8", name="f"),
    ChatMessage(content="hm", id="9", role="critic"),
    HumanMessage("with more", id="10", example_of_an_extra_field={"deep": [1]}),
]
CHUNKS = [
    AIMessageChunk(content="a", id="11", tool_call_chunks=[{"name": "f", "args": "{", "id": "c", "index": 0}]),
    AIMessageChunk(content="b", id="12", chunk_position="last"),
    ToolMessageChunk(content="c", id="13", tool_call_id="call-1"),
    RemoveMessage(id="14"),
    Document("text", id="15", metadata={"source": "a", "page": 2}),
]


def same(one: Any, other: Any) -> bool:
    """Equal, of the same class, and with the same set of fields that were set."""
    return type(one) is type(other) and one == other and one.model_fields_set == other.model_fields_set


def all_same(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(ones) == len(others) and all(map(same, ones, others))


class Bare(TypedDict):
    messages: Annotated[list, add_messages]  # type: ignore[type-arg]  # as LangGraph's users write it


class Typed(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class OfSequence(TypedDict):
    messages: Annotated[Sequence[BaseMessage], add_messages]


@pytest.mark.parametrize("state", [MessagesState, Bare, Typed, OfSequence])
async def test_messages_of_a_conversation_round_trip(saver: Checkpointer, reopen: Reopen, state: Any) -> None:
    def graph(saver: Checkpointer) -> Any:
        described = StateGraph(state).add_node("node", lambda _: {"messages": MESSAGES[5:]}).add_edge(START, "node")
        return described.compile(saver)

    result = await graph(saver).ainvoke({"messages": MESSAGES[:5]}, thread_id="t")
    assert all_same(result["messages"], MESSAGES)

    snapshot = await graph(await reopen()).aget_state(thread_id="t")
    assert all_same(snapshot.values["messages"], MESSAGES)


class Values(TypedDict, total=False):
    anything: Any
    listed: list[AnyMessage]
    sequence: Sequence[BaseMessage]
    one: HumanMessage
    either: HumanMessage | AIMessage | None
    documents: list[Document]


async def test_messages_round_trip_in_keys_of_any_declared_type_without_a_reducer(
    saver: Checkpointer, reopen: Reopen
) -> None:
    values: Any = {
        "anything": [*MESSAGES, *CHUNKS, {"deep": MESSAGES[3]}],
        "listed": MESSAGES[:4],
        "sequence": MESSAGES,
        "one": HumanMessage("hi"),
        "either": AIMessage("hello"),
        "documents": [Document("a"), Document("b", metadata={"n": 1})],
    }

    def graph(saver: Checkpointer) -> Any:
        return StateGraph(Values).add_node("node", lambda _: values).add_edge(START, "node").compile(saver)

    await graph(saver).ainvoke({}, thread_id="t")
    found = (await graph(await reopen()).aget_state(thread_id="t")).values

    assert all_same(found["anything"][:-1], [*MESSAGES, *CHUNKS])
    assert same(found["anything"][-1]["deep"], MESSAGES[3])
    assert all_same(found["listed"], MESSAGES[:4])
    assert all_same(found["sequence"], MESSAGES)
    assert same(found["one"], HumanMessage("hi"))
    assert same(found["either"], AIMessage("hello"))
    assert all_same(found["documents"], values["documents"])


class Asked(TypedDict, total=False):
    answer: Any
    sent: Any


async def test_messages_round_trip_in_interrupts_answers_and_arguments_of_sends(
    saver: Checkpointer, reopen: Reopen
) -> None:
    def graph(saver: Checkpointer) -> Any:
        described = StateGraph(Asked)
        described.add_node("ask", lambda _: {"answer": interrupt({"review": MESSAGES[3]})})
        described.add_node("take", lambda message: {"sent": [type(message).__name__, message.content]})
        described.add_conditional_edges("ask", lambda _: [Send("take", MESSAGES[0])])
        return described.add_edge(START, "ask").compile(saver)

    asked = await graph(saver).ainvoke({}, thread_id="t")
    (question,) = asked["__interrupt__"]
    assert same(question.value["review"], MESSAGES[3])

    (again,) = (await graph(await reopen()).aget_state(thread_id="t")).interrupts
    assert same(again.value["review"], MESSAGES[3])
    result = await graph(await reopen()).ainvoke(Command(resume=MESSAGES[2]), thread_id="t")

    assert same(result["answer"], MESSAGES[2])
    assert result["sent"] == ["HumanMessage", "hi"]


async def test_messages_round_trip_in_tasks_and_entrypoints(saver: Checkpointer) -> None:
    calls: list[str] = []

    @task
    async def model(message: BaseMessage) -> BaseMessage:
        calls.append(message.text)
        return AIMessage(f"re: {message.text}", id="r")

    @entrypoint(saver)
    async def flow(message: BaseMessage, *, previous: Any = None) -> Any:
        reply = await model(message)
        interrupt("go on?")
        return [previous, reply]

    await flow.ainvoke(HumanMessage("hi", id="a"), thread_id="t")
    result = await flow.ainvoke(Command(resume="yes"), thread_id="t")

    assert calls == ["hi"]
    assert result[0] is None
    assert same(result[1], AIMessage("re: hi", id="r"))


class Own(HumanMessage):
    """A subclass that a package defines."""

    mood: str = "fine"


async def test_a_subclass_is_refused_by_name_and_stored_with_its_own_stored_type(saver: Checkpointer) -> None:
    described: Any = StateGraph(MessagesState)
    described.add_node("node", lambda _: {"messages": Own(content="x", mood="bad")})
    described.add_edge(START, "node")

    with pytest.raises(UnstorableValueError, match="list a StoredType of the subclass") as refused:
        await described.compile(saver).ainvoke({"messages": []}, thread_id="refused")
    assert "Own" in str(refused.value)

    stored = StoredType(Own, "Own", lambda own: own.model_dump(), lambda data: Own(**data))
    result = await described.compile(saver, types=[stored]).ainvoke({"messages": []}, thread_id="t")
    (kept,) = result["messages"]
    assert (type(kept), kept.mood) == (Own, "bad")


async def test_a_message_is_stored_in_few_bytes(saver: Checkpointer) -> None:
    encoded = Codec(TYPES).of(Any, where="a message").encode(HumanMessage("hi", id="1"))
    assert len(encoded) <= 50


LISTS: list[list[Any]] = [
    *([message] for message in (*MESSAGES, *CHUNKS[:-2])),
    [AIMessage("hello", id="16", additional_kwargs={"not": ("plain", 2**70)})],
    [HumanMessage("", id="17", deep=[[[[[[[[1]]]]]]]])],
    [],
    MESSAGES[:3],
    MESSAGES,
]


def codec_of_messages() -> TypeCodec:
    return Codec(TYPES).of(list[BaseMessage], where="channel 'messages'", is_stamped=True)


def test_decode_all_and_decode_return_the_same_messages() -> None:
    codec = codec_of_messages()
    datas = [codec.encode(messages) for messages in LISTS]

    read = codec.decode_all(datas)

    assert len(read) == len(LISTS)
    assert all(all_same(one, other) for one, other in zip(read, LISTS, strict=True))
    assert repr(read) == repr([codec.decode(data) for data in datas]) == repr(LISTS)


def test_a_message_has_the_same_bytes_alone_and_among_others() -> None:
    codec = codec_of_messages()
    others = pack_items(codec, MESSAGES)

    assert others == [pack_items(codec, [message])[0] for message in MESSAGES]


def pack_items(codec: TypeCodec, messages: list[Any]) -> list[bytes]:
    return [msgspec.msgpack.encode(item) for item in msgspec.msgpack.decode(codec.encode(messages)[5:])]


@given(st.sampled_from(LISTS[:12]), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_decode_all_and_decode_agree_on_damaged_messages(messages: list[Any], at: int, byte: int) -> None:
    codec = codec_of_messages()
    whole = codec.encode(messages)
    for damaged in (whole[:at], whole[: at % len(whole)] + bytes([byte]) + whole[at % len(whole) + 1 :]):
        datas = [whole, damaged, whole]
        try:
            expected = [codec.decode(data) for data in datas]
        except DecodeError:
            with pytest.raises(DecodeError):
                codec.decode_all(datas)
        else:
            assert codec.decode_all(datas) == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"id": "1"}, "HumanMessage needs content"),
        ({"content": "a", "colour": "red"}, "HumanMessage has no field colour"),
        ({"content": "a", "__fields_set__": "content"}, "names of fields of HumanMessage"),
        ({"content": "a", "__fields_set__": ["content", 1]}, "names of fields of HumanMessage"),
        ({"content": "a", "__extra__": [["b", 1]]}, "names of fields of HumanMessage"),
        ([["content", "a"]], "'list' object"),
    ],
)
def test_data_that_is_no_message_is_refused(data: Any, words: str) -> None:
    codec = codec_of_messages()
    good = codec.encode([HumanMessage("a")])
    bad = good[:5] + msgspec.msgpack.encode([[msgspec.msgpack.Ext(0, b"o"), "langchain.HumanMessage", data]])

    for read in (lambda: codec.decode(bad), lambda: codec.decode_all([good, bad])):
        with pytest.raises(DecodeError, match=words):
            read()


def test_restored_messages_share_no_parts() -> None:
    codec = codec_of_messages()
    one, other = (messages[0] for messages in codec.decode_all([codec.encode([AIMessage("a")])] * 2))

    one.tool_calls.append(CALL)
    one.invalid_tool_calls.append({})
    one.additional_kwargs["a"] = one.response_metadata["b"] = 1
    one.name = "n"
    one.mood = "bad"

    assert same(other, AIMessage("a"))


def test_a_field_added_by_a_later_version_has_its_default() -> None:
    class Later(HumanMessage):
        tone: str = "calm"
        notes: list[str] = Field(default_factory=list)

    Later.__name__ = "HumanMessage"
    before, later = Codec([stored(HumanMessage)]), Codec([stored(Later)])
    data = before.of(list[BaseMessage], where="x").encode([HumanMessage("a", id="1")])

    for (message,) in later.of(list[BaseMessage], where="x").decode_all([data, data]):
        assert (type(message), message.content, message.tone, message.notes) == (Later, "a", "calm", [])
