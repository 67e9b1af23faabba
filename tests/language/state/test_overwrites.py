"""`Overwrite`: a write that bypasses the reducer."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    ConcurrentUpdateError,
    Durability,
    InvalidUpdateError,
    Overwrite,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, OnceError, chain_of, fails_once, fan_out_of
from tests.language.state.conftest import Reopen


def longest(value: str, write: str) -> str:
    return max(value, write, key=len)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    tags: Annotated[dict[str, int], operator.or_]
    best: Annotated[str, longest]
    topic: str


async def test_an_overwrite_replaces_the_value(saver: Checkpointer, durability: Durability) -> None:
    graph = chain_of(State, Inputs(), ("a", {"log": ["a"]}), ("b", {"log": Overwrite(["b"])}), ("c", {"log": ["c"]}))

    result = await graph.compile(saver).ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    assert result == {"log": ["b", "c"], "tags": {}, "best": ""}


@pytest.mark.parametrize("overwrites", ["a", "b", "c"])
async def test_an_overwrite_together_with_another_write_is_an_error_that_names_all_nodes(
    saver: Checkpointer, durability: Durability, overwrites: str
) -> None:
    nodes = [(name, {"log": Overwrite([name]) if name == overwrites else [name]}) for name in ("a", "b", "c")]
    graph = fan_out_of(State, Inputs(), *nodes, then=("end", {})).compile(saver)

    with pytest.raises(ConcurrentUpdateError, check=of_kind("overwrite")) as raised:
        await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    error = raised.value
    assert (error.channel, error.nodes, error.overwriting) == ("log", ("a", "b", "c"), (overwrites,))
    assert f"got 3 writes, from: a, b, c; the Overwrites are from: {overwrites}; " in str(error)
    assert (await graph.aget_state(thread_id="t")).values["log"] == ["in"]


async def test_an_overwrite_together_with_another_write_is_an_error_without_a_checkpointer() -> None:
    nodes = ("a", {"log": ["a"]}), ("b", {"log": Overwrite(["b"])})

    with pytest.raises(ConcurrentUpdateError, check=of_kind("overwrite")):
        await fan_out_of(State, Inputs(), *nodes, then=("end", {})).compile().ainvoke({"log": ["in"]})


async def test_two_overwrites_of_one_channel_are_an_error_and_the_thread_stays_usable(saver: Checkpointer) -> None:
    def overwrites(state: State) -> dict[str, Any]:
        return {"log": Overwrite(["x"]) if state["topic"] == "all" else ["x"]}

    graph = fan_out_of(State, Inputs(), ("a", overwrites), ("b", overwrites), then=("end", {})).compile(saver)

    with pytest.raises(ConcurrentUpdateError, check=of_kind("overwrite")) as raised:
        await graph.ainvoke({"topic": "all"}, thread_id="t")

    assert (raised.value.channel, raised.value.nodes, raised.value.overwriting) == ("log", ("a", "b"), ("a", "b"))
    assert isinstance(raised.value, InvalidUpdateError)
    result = await graph.ainvoke({"topic": "none"}, thread_id="t")
    assert result["log"] == ["x", "x"]


async def test_a_node_that_overwrites_and_adds_is_refused_and_runs_again(saver: Checkpointer) -> None:
    def both(state: State) -> list[dict[str, Any]]:
        return [{"log": ["added"]}, {"log": Overwrite(["new"])}]

    seen = Inputs()
    graph = chain_of(State, seen, ("a", both)).compile(saver)

    with pytest.raises(ConcurrentUpdateError, check=of_kind("overwrite")) as raised:
        await graph.ainvoke({"log": ["old"]}, thread_id="t")
    with pytest.raises(ConcurrentUpdateError, check=of_kind("overwrite")):
        await graph.ainvoke(None, thread_id="t")

    assert (raised.value.nodes, raised.value.overwriting) == (("a", "a"), ("a",))
    assert [name for name, _ in seen.calls] == ["a", "a"]


async def test_an_overwrite_of_a_key_without_a_reducer_is_a_plain_write(saver: Checkpointer) -> None:
    graph = fan_out_of(State, Inputs(), ("a", {"topic": Overwrite("a")}), ("b", {}), then=("c", {})).compile(saver)

    assert (await graph.ainvoke({"topic": "in"}, thread_id="t"))["topic"] == "a"


async def test_an_input_may_overwrite(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {"log": ["a"]})).compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t")

    result = await graph.ainvoke({"log": Overwrite(["anew"])}, thread_id="t")

    assert result["log"] == ["anew", "a"]


async def test_a_command_and_an_edit_may_overwrite(saver: Checkpointer) -> None:
    commanding = chain_of(State, Inputs(), ("a", Command(update={"tags": Overwrite({"new": 2})}))).compile(saver)

    result = await commanding.ainvoke({"tags": {"old": 1}}, thread_id="t")
    await commanding.aupdate_state({"configurable": {"thread_id": "t"}}, {"tags": Overwrite({})}, as_node="a")

    assert result["tags"] == {"new": 2}
    assert (await commanding.aget_state(thread_id="t")).values["tags"] == {}


async def test_a_recorded_overwrite_is_applied_as_an_overwrite_in_another_process(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    nodes = ("a", {"tags": {"a": 1}}), ("b", {"log": Overwrite(["b"])}), ("c", fails_once({"topic": "c"}))
    seen = Inputs()
    graph = fan_out_of(State, seen, *nodes, then=("end", {}))
    with pytest.raises(OnceError):
        await graph.compile(saver).ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    result = await graph.compile(await reopen()).ainvoke(None, thread_id="t")

    assert (result["log"], result["tags"], result["topic"]) == (["b"], {"a": 1}, "c")
    assert [name for name, _ in seen.calls] == ["a", "b", "c", "c", "end"]


async def test_writes_after_an_overwrite_are_restored(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    graph = chain_of(State, Inputs(), ("a", {"log": Overwrite(["a"])}), ("b", {"log": ["b"]}), ("c", {"log": ["c"]}))
    await graph.compile(saver).ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    again = graph.compile(await reopen())

    assert (await again.aget_state(thread_id="t")).values["log"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "of", [lambda v: {"__overwrite__": v}, lambda v: {"type": "__overwrite__", "value": v}], ids=["short", "long"]
)
async def test_the_json_forms_are_overwrites_in_inputs_results_and_edits(
    saver: Checkpointer, reopen: Reopen, of: Callable[[Any], Any]
) -> None:
    described = chain_of(State, Inputs(), ("a", {"log": of(["a"]), "tags": {"a": 1}}), ("b", {"log": ["b"]}))
    graph = described.compile(saver)
    await graph.ainvoke({"log": ["in"], "best": "the longest"}, thread_id="t")

    result = await graph.ainvoke({"tags": of({"in": 1}), "best": of("short")}, thread_id="t")
    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": of([])}, as_node="b")

    assert result == {"log": ["a", "b"], "tags": {"in": 1, "a": 1}, "best": "short"}
    again = described.compile(await reopen())
    assert (await again.aget_state(thread_id="t")).values == {**result, "log": []}


async def test_the_json_form_is_a_plain_value_for_a_key_without_a_reducer_or_with_more_keys(
    saver: Checkpointer,
) -> None:
    class Open(TypedDict, total=False):
        any: Any
        merged: Annotated[dict[str, Any], operator.or_]

    update = {"any": {"__overwrite__": 1}, "merged": {"__overwrite__": 1, "more": 2}}
    graph = chain_of(Open, Inputs(), ("a", update)).compile(saver)

    assert await graph.ainvoke({"merged": {"in": 0}}, thread_id="t") == {
        "any": {"__overwrite__": 1},
        "merged": {"in": 0, "__overwrite__": 1, "more": 2},
    }
