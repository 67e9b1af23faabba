"""Keys that the state does not have are refused, or dropped if the graph has `extra_keys="ignore"`."""

from typing import Any, TypedDict

import pydantic
import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    InvalidOptionError,
    RemainingSteps,
    StateGraph,
    StateKeyError,
)
from tests.errors.kinds import of_kind
from tests.language.state.conftest import Reopen


class State(TypedDict, total=False):
    topic: str
    left: RemainingSteps


class Given(TypedDict, total=False):
    topic: str


def ignoring(result: Any, state: Any = State, **schemas: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state, extra_keys="ignore", **schemas)
    builder.add_node("a", lambda _: result)
    builder.add_edge(START, "a")
    return builder


@pytest.mark.parametrize(
    "result",
    [{"topic": "new", "more": 1}, Command(update={"topic": "new", "more": 1}), [{"topic": "new"}, {"more": 1}]],
)
async def test_extra_keys_of_results_and_inputs_and_edits_are_dropped(
    saver: Checkpointer, reopen: Reopen, result: Any
) -> None:
    graph = ignoring(result).compile(saver)

    assert await graph.ainvoke({"topic": "in", "other": 2}, thread_id="t") == {"topic": "new"}
    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"topic": "edited", "other": 3}, as_node="a")

    again = ignoring(result).compile(await reopen())
    assert (await again.aget_state(thread_id="t")).values == {"topic": "edited"}


async def test_a_key_that_the_state_has_and_the_input_schema_does_not_is_an_extra_key_of_the_input() -> None:
    class Wide(Given, total=False):
        inner: str

    graph = ignoring({}, Wide, input_schema=Given).compile()

    assert await graph.ainvoke({"topic": "in", "inner": "x"}) == {"topic": "in"}


async def test_aliases_and_managed_keys_are_refused_with_extra_keys_ignored() -> None:
    class Model(pydantic.BaseModel):
        topic: str = pydantic.Field("", alias="subject")

    with pytest.raises(StateKeyError, check=of_kind("managed")):
        await ignoring({"left": 3}).compile().ainvoke({})
    with pytest.raises(StateKeyError, check=of_kind("alias"), match="use 'topic'"):
        await ignoring({"subject": "x"}, Model).compile().ainvoke({})


async def test_the_error_of_an_extra_key_names_the_option(saver: Checkpointer) -> None:
    builder = StateGraph(State)
    builder.add_node("a", lambda _: {"more": 1})
    builder.add_edge(START, "a")
    graph = builder.compile(saver)

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match='extra_keys="ignore"'):
        await graph.ainvoke({}, thread_id="t")
    with pytest.raises(StateKeyError, check=of_kind("unknown"), match='extra_keys="ignore"'):
        await graph.ainvoke({"more": 1}, thread_id="t")
    with pytest.raises(StateKeyError, check=of_kind("unknown")) as raised:
        await graph.ainvoke({}, thread_id="t", output_keys=["more"])
    assert "extra_keys" not in str(raised.value)


async def test_an_unknown_value_of_extra_keys_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="'refuse' or 'ignore'"):
        StateGraph(State, extra_keys="drop")  # type: ignore[call-overload]  # tested here


@pytest.mark.parametrize("outer_keys", ["refuse", "ignore"])
async def test_a_graph_called_in_a_node_takes_its_own_keys_from_the_state_of_the_caller(outer_keys: Any) -> None:
    class Outer(TypedDict, total=False):
        topic: str
        own: int

    inner = StateGraph(State)
    inner.add_node("a", lambda state: {"topic": state["topic"] + "!"})
    inner.add_edge(START, "a")
    child = inner.compile()

    async def call(state: Outer) -> Any:
        return await child.ainvoke(state)

    outer = StateGraph(Outer, extra_keys=outer_keys)
    outer.add_node("call", call)
    outer.add_edge(START, "call")

    assert await outer.compile().ainvoke({"topic": "in", "own": 1}) == {"topic": "in!", "own": 1}
