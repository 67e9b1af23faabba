"""Rows whose digests are right and whose bytes are malformed: each read succeeds or raises an error of the library."""

import asyncio
import operator
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from durable_graph import (
    END,
    START,
    CompiledGraph,
    DecodeError,
    DurableGraphError,
    GraphChangedError,
    MemorySaver,
    Send,
    StateGraph,
    add_messages,
    interrupt,
)
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.memory_rows import ThreadRows
from durable_graph.graph import Topology
from durable_graph.records import Rank, ValueKind
from tests.checkpointing.forging import forge_checkpoint, forge_record, forge_value

pytestmark = pytest.mark.slow


class Inner(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class State(TypedDict, total=False):
    topic: str
    log: Annotated[list[str], operator.add]
    messages: Annotated[list[Any], add_messages]
    seen: Annotated[dict[str, int], operator.or_]
    total: Annotated[int, operator.add]


async def begin(state: State) -> Any:
    return {
        "topic": "tea",
        "log": ["begin"],
        "seen": {"begin": 1},
        "messages": [{"id": "1", "text": "hello"}],
        "total": 1,
    }


async def part(state: Any) -> Any:
    return {"log": ["part"], "messages": [{"id": "2", "text": "there"}], "total": 1}


async def ask(state: State) -> Any:
    return {"topic": interrupt("which?")}


async def aside(state: State) -> Any:
    return {"log": ["aside"], "seen": {"aside": 2}}


async def inner(state: Inner) -> Any:
    return {"log": [interrupt("inside?")]}


async def join(state: State) -> Any:
    return {"log": ["join"]}


@cache
def topology() -> Topology:
    nested = StateGraph(Inner).add_node("inner", inner).add_edge(START, "inner").compile()
    builder = StateGraph(State)
    for node in (begin, part, ask, aside, join):
        builder.add_node(node.__name__, node)
    builder.add_node("nested", nested)
    builder.add_edge(START, "begin")
    builder.add_conditional_edges("begin", lambda _: [Send("part", {"n": n}) for n in range(2)], ["part"])
    for after in ("ask", "aside", "nested"):
        builder.add_edge("part", after)
    builder.add_edge(["ask", "aside"], "join")
    builder.add_edge("join", END)
    return builder.compile(messages="dict").topology


def compiled(saver: MemorySaver) -> CompiledGraph[Any]:
    return CompiledGraph(topology(), saver)


async def state(graph: CompiledGraph[Any]) -> object:
    return await graph.aget_state(thread_id="t", subgraphs=True)


async def history(graph: CompiledGraph[Any]) -> object:
    return [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]


async def filtered(graph: CompiledGraph[Any]) -> object:
    return [snapshot async for snapshot in graph.aget_state_history(thread_id="t", filter={"source": "input"})]


async def resume(graph: CompiledGraph[Any]) -> object:
    return await graph.ainvoke(None, thread_id="t")


async def update(graph: CompiledGraph[Any]) -> object:
    return await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"topic": "coffee"})


Call = Callable[[CompiledGraph[Any]], Awaitable[object]]

CALLS: list[Call] = [state, history, filtered, resume, update]
WHOLE: list[Call] = [state, history, resume, update]
"""The calls that decode the values of the newest checkpoint."""

ROWS = ["header", "record", "topic", "log", "messages", "seen", "total"]


@cache
def interrupted() -> ThreadRows:
    """The rows of a thread in which two nodes are interrupted."""
    saver = MemorySaver()
    asyncio.run(compiled(saver).ainvoke({"log": ["input"]}, thread_id="t"))
    return saver._threads[key_of("t")]


Forge = Callable[[MemorySaver], None]


def outcomes(forge: Forge, calls: Sequence[Call] = CALLS) -> list[object]:
    """The result or the error of each call, each made on a forged copy of the thread."""

    async def outcome(call: Call) -> object:
        saver = MemorySaver()
        saver._threads[key_of("t")] = interrupted().copied(interrupted().row)
        forge(saver)
        try:
            return await call(compiled(saver))
        except DurableGraphError as error:
            return error

    async def each() -> list[object]:
        return [await outcome(call) for call in calls]

    interrupted()
    return asyncio.run(each())


Bytes = Callable[[bytes], bytes]


def with_bytes(kind: str, which: int, change: Bytes) -> Forge:
    """Change the bytes of a row: a header, a record, or the value of the channel of this name."""
    if kind == "header":
        return lambda saver: forge_checkpoint(saver, which, lambda row: replace(row, header=change(row.header)))
    if kind == "record":
        return lambda saver: forge_record(saver, which, lambda row: replace(row, value=change(row.value)))
    return lambda saver: forge_value(saver, kind, which, lambda row: replace(row, value=change(row.value)))


def test_unchanged_rows_are_read_without_errors() -> None:
    for kind in ROWS:
        ends = outcomes(with_bytes(kind, 0, lambda data: data))
        assert not any(isinstance(end, Exception) for end in ends)


cuts = st.integers(0, 40).map(lambda size: lambda data: data[:size])
drops = st.integers(1, 8).map(lambda size: lambda data: data[:-size])
whole = st.binary(max_size=30).map(lambda given: lambda _: given)
tails = st.binary(min_size=1, max_size=8).map(lambda given: lambda data: data + given)


def overwritten(place: int, given: bytes) -> Bytes:
    return lambda data: data[: place % (len(data) + 1)] + given + data[place % (len(data) + 1) + len(given) :]


flips = st.builds(overwritten, st.integers(0, 200), st.binary(min_size=1, max_size=3))
changes = st.one_of(cuts, drops, whole, tails, flips)


@given(st.sampled_from(ROWS), st.integers(0, 3), changes)
def test_reading_any_bytes_in_a_row_succeeds_or_raises_an_error_of_the_library(
    kind: str, which: int, change: Bytes
) -> None:
    outcomes(with_bytes(kind, which, change))


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1]),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(-1, 3), max_size=3),
    st.just({"id": []}),
    st.floats(),
)


def with_part(path: list[int], value: Any) -> Bytes:
    """Replace one value at a path inside a msgpack array, and keep the rest."""

    def change(data: bytes) -> bytes:
        whole = part = msgspec.msgpack.decode(data)
        for index in path[:-1]:
            # A path that is too long ends at the last array that it reaches.
            if isinstance(part, list) and part and isinstance(part[index % len(part)], list):
                part = part[index % len(part)]
        if isinstance(part, list) and part:
            part[path[-1] % len(part)] = value
        return msgspec.msgpack.encode(whole)

    return change


@given(
    st.sampled_from(["header", "record"]),
    st.integers(0, 3),
    st.lists(st.integers(0, 7), min_size=1, max_size=4),
    odd,
)
def test_reading_any_part_of_a_header_or_record_succeeds_or_raises_an_error_of_the_library(
    kind: str, which: int, path: list[int], value: Any
) -> None:
    outcomes(with_bytes(kind, which, with_part(path, value)))


@pytest.mark.parametrize(
    ("path", "value"), [([0], 2**64 - 1), ([0], -(2**63)), ([2, 0, 1], -(2**63)), ([2, 0, 1], 100), ([2, 0, 2], -1)]
)
def test_a_header_with_an_impossible_number_is_a_decode_error(path: list[int], value: int) -> None:
    for end in outcomes(with_bytes("header", 0, with_part(path, value)), WHOLE):
        assert isinstance(end, DecodeError)
        assert "a checkpoint's header" in str(end)


def frames(*values: Any) -> bytes:
    datas = [b"\x01" + msgspec.msgpack.encode(value) for value in values]
    return b"\x00" + b"".join(len(data).to_bytes(4, "big") + data for data in datas)


@given(
    st.sampled_from(["log", "messages", "seen"]), st.integers(0, 3), st.lists(odd, max_size=3), st.sampled_from([0, 2])
)
def test_reading_any_update_succeeds_or_raises_an_error_of_the_library(
    kind: str, which: int, values: list[Any], mark: int
) -> None:
    data = bytes([mark << 4]) + frames(*values)[1:]

    outcomes(with_bytes(kind, which, lambda _: data))


@pytest.mark.parametrize("update", [[7], [{"id": []}], ["text"]])
def test_malformed_messages_are_an_error_that_names_the_channel(update: Any) -> None:
    data = bytes([2 << 4]) + frames(update)[1:]

    for end in outcomes(with_bytes("messages", 0, lambda _: data), WHOLE):
        assert isinstance(end, GraphChangedError)
        assert end.kind == "channel"
        assert end.name == "messages"


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"\x00\x00\x00\x00\x05ab"])
def test_malformed_updates_are_an_error_that_names_the_row(data: bytes) -> None:
    assert outcomes(with_bytes("log", 0, lambda _: data), [filtered]) == outcomes(lambda _: None, [filtered])
    for end in outcomes(with_bytes("log", 0, lambda _: data), WHOLE):
        assert isinstance(end, DecodeError)
        assert "channel 'log' by checkpoint '" in str(end)


numbers = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 4, 5, 2**31, 2**62, 2**63 - 1])


def of_checkpoint(which: int, field: str, number: int) -> Forge:
    return lambda saver: forge_checkpoint(saver, which, lambda row: replace(row, **{field: number}))


def of_record(which: int, rank: Rank, revision: int) -> Forge:
    return lambda saver: forge_record(saver, which, lambda row: replace(row, rank=rank, revision=revision))


def of_value(channel: str, which: int, kind: ValueKind, prev: int) -> Forge:
    return lambda saver: forge_value(saver, channel, which, lambda row: replace(row, kind=kind, prev=prev))


@given(
    st.one_of(
        st.builds(of_checkpoint, st.integers(0, 3), st.sampled_from(["parent", "born", "at"]), numbers),
        st.builds(of_record, st.integers(0, 3), st.sampled_from(Rank), numbers),
        st.builds(of_value, st.sampled_from(ROWS[2:]), st.integers(0, 3), st.sampled_from(ValueKind), numbers),
    )
)
def test_reading_any_number_in_a_row_succeeds_or_raises_an_error_of_the_library(forge: Forge) -> None:
    outcomes(forge)


def test_a_record_with_the_largest_possible_revision_is_an_error() -> None:
    for end in outcomes(of_record(0, Rank.FAILED, 2**63 - 1), [state, history, resume, update]):
        assert isinstance(end, DecodeError)
        assert "its revision is not valid" in str(end)


@pytest.mark.parametrize("at", [2**63 - 1, -(2**63)])
def test_an_impossible_time_is_an_error_that_names_the_checkpoint(at: int) -> None:
    for end in outcomes(of_checkpoint(0, "at", at), [state, history]):
        assert isinstance(end, DecodeError)
        assert "the time of checkpoint '" in str(end)
