"""`UntrackedValue`: a value that lives as long as its run, and is never stored."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    CachePolicy,
    Checkpointer,
    ConcurrentUpdateError,
    Durability,
    InMemoryCache,
    Send,
    StateGraph,
    UntrackedValue,
)
from durable_graph.errors import GraphValidationError
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, OnceError, chain_of, fails_once, fan_out_of
from tests.language.state.conftest import Reopen


class Connection:
    """A class whose instances cannot be stored."""

    def __init__(self, secret: str = "") -> None:
        self.secret = secret


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    connection: Annotated[Connection, UntrackedValue]
    any_of: Annotated[Connection, UntrackedValue(Connection, guard=False)]


class Tracked(TypedDict, total=False):
    connection: Connection


def secret_in(state: State) -> dict[str, Any]:
    return {"log": [state["connection"].secret if "connection" in state else "none"]}


def test_only_an_untracked_value_may_be_of_any_type() -> None:
    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=r"'connection'.*cannot be stored"):
        chain_of(Tracked, Inputs(), ("a", {})).compile()

    assert "connection" not in chain_of(State, Inputs(), ("a", {})).compile().topology.codecs


async def test_an_untracked_value_is_visible_to_all_later_nodes(saver: Checkpointer, durability: Durability) -> None:
    kept = Connection("s")
    graph = chain_of(State, Inputs(), ("a", {"connection": kept}), ("b", {}), ("c", secret_in)).compile(saver)

    result = await graph.ainvoke({"log": []}, thread_id="t", durability=durability)

    assert result == {"log": ["s"], "connection": kept}


async def test_an_untracked_value_is_never_stored(saver: Checkpointer, durability: Durability) -> None:
    seen = Inputs()
    graph = chain_of(State, seen, ("a", {}), ("b", {"connection": Connection("written")})).compile(saver)
    await graph.ainvoke({"connection": Connection("given")}, thread_id="t", durability=durability)

    stored = await saver.load("t")

    assert stored is not None
    assert [row for row in stored.values if row.channel == "connection"] == []
    assert (await graph.aget_state(thread_id="t")).values == {"log": []}
    assert [given["connection"].secret for given in (*seen.of("a"), *seen.of("b"))] == ["given", "given"]


async def test_a_resumed_run_starts_without_untracked_values(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    nodes = ("a", {"connection": Connection("s")}), ("b", secret_in), ("c", fails_once(secret_in))
    graph = chain_of(State, Inputs(), *nodes)
    with pytest.raises(OnceError):
        await graph.compile(saver).ainvoke({"log": []}, thread_id="t", durability=durability)

    result = await graph.compile(await reopen()).ainvoke(None, thread_id="t")

    assert result == {"log": ["s", "none"]}


async def test_an_untracked_value_of_a_finished_sibling_is_not_recorded(saver: Checkpointer, reopen: Reopen) -> None:
    nodes = ("a", {"connection": Connection("s"), "log": ["a"]}), ("b", fails_once({"log": ["b"]}))
    graph = fan_out_of(State, Inputs(), *nodes, then=("end", secret_in))
    with pytest.raises(OnceError):
        await graph.compile(saver).ainvoke({}, thread_id="t")

    assert (await graph.compile(await reopen()).ainvoke(None, thread_id="t"))["log"] == ["a", "b", "none"]


async def test_a_guarded_untracked_value_takes_one_write_per_superstep_and_an_unguarded_one_the_last(
    saver: Checkpointer,
) -> None:
    def twice(key: str) -> Any:
        nodes = ("a", {key: Connection("a")}), ("b", {key: Connection("b")})
        return fan_out_of(State, Inputs(), *nodes, then=("end", {})).compile(saver)

    with pytest.raises(ConcurrentUpdateError, match="'connection'"):
        await twice("connection").ainvoke({}, thread_id="t")

    assert (await twice("any_of").ainvoke({}, thread_id="u"))["any_of"].secret == "b"  # noqa: S105  # no password


async def test_an_untracked_value_in_a_send_reaches_its_node_and_is_not_stored(
    saver: Checkpointer, reopen: Reopen
) -> None:
    seen = Inputs()
    builder: StateGraph[State] = StateGraph(State)
    builder.add_node("work", seen.node("work", fails_once(secret_in)))
    builder.add_conditional_edges(
        START, lambda state: [Send("work", {"connection": Connection("s"), "item": 1})], ["work"]
    )
    with pytest.raises(OnceError):
        await builder.compile(saver).ainvoke({"log": []}, thread_id="t")

    result = await builder.compile(await reopen()).ainvoke(None, thread_id="t")

    assert [sorted(given) for given in seen.of("work")] == [["connection", "item"], ["item"]]
    assert result == {"log": ["none"]}


async def test_a_superstep_that_changes_only_an_untracked_value_is_streamed(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {"connection": Connection("s")})).compile(saver)

    shown = [part async for part in graph.astream({"log": ["in"]}, thread_id="t", stream_mode="values")]

    assert ["connection" in part for part in shown] == [False, True]


async def test_a_result_with_an_untracked_value_is_not_cached(saver: Checkpointer) -> None:
    seen = Inputs()
    builder: StateGraph[State] = StateGraph(State)
    builder.add_node("a", seen.node("a", {"connection": Connection("s"), "log": ["a"]}), cache_policy=CachePolicy())
    builder.add_node("b", seen.node("b", secret_in))
    builder.add_edge(START, "a").add_edge("a", "b")
    graph = builder.compile(saver, cache=InMemoryCache())

    results = [(await graph.ainvoke({"log": []}, thread_id=thread))["log"] for thread in "tu"]

    assert results == [["a", "s"], ["a", "s"]]
