"""`IsLastStep` and `RemainingSteps`: keys that are computed for each task."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pydantic
import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    GraphRecursionError,
    GraphValidationError,
    IsLastStep,
    RemainingSteps,
    StateGraph,
    StateKeyError,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    is_last: IsLastStep
    remaining: RemainingSteps


@dataclass
class AsDataclass:
    remaining: RemainingSteps
    is_last: IsLastStep
    log: Annotated[list[Any], operator.add] = field(default_factory=list)


class AsModel(pydantic.BaseModel):
    remaining: RemainingSteps
    is_last: IsLastStep = False
    log: Annotated[list[Any], operator.add] = []


def place(state: Any) -> dict[str, Any]:
    given = state if isinstance(state, dict) else vars(state)
    return {"log": [(given["remaining"], given["is_last"])]}


@pytest.mark.parametrize("schema", [State, AsDataclass, AsModel])
async def test_each_task_reads_the_number_of_remaining_supersteps(
    saver: Checkpointer, durability: Durability, schema: Any
) -> None:
    graph = chain_of(schema, Inputs(), ("a", place), ("b", place), ("c", place)).compile(saver)

    result = await graph.ainvoke({"log": []}, thread_id="t", recursion_limit=3, durability=durability)

    assert result == {"log": [(3, False), (2, False), (1, True)]}


async def test_a_loop_can_end_itself_before_the_recursion_limit(saver: Checkpointer) -> None:
    builder: StateGraph[State] = StateGraph(State)
    builder.add_node("a", Inputs().node("a", lambda state: {"log": [state["remaining"]]}))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: END if state["remaining"] == 1 else "a", ["a", END])
    graph = builder.compile(saver)

    assert await graph.ainvoke({"log": []}, thread_id="t", recursion_limit=4) == {"log": [4, 3, 2, 1]}


async def test_remaining_steps_start_again_in_a_resumed_run(saver: Checkpointer) -> None:
    nodes = ("a", place), ("ask", lambda state: {"log": [interrupt("?"), state["remaining"]]}), ("b", place)
    graph = chain_of(State, Inputs(), *nodes).compile(saver)

    await graph.ainvoke({"log": []}, thread_id="t", recursion_limit=2)
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", recursion_limit=2)

    assert result == {"log": [(2, False), "yes", 2, (1, True)]}


async def test_a_run_is_stopped_after_its_last_step(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", place), ("b", place)).compile(saver)

    with pytest.raises(GraphRecursionError):
        await graph.ainvoke({"log": []}, thread_id="t", recursion_limit=1)

    assert (await graph.aget_state(thread_id="t")).values == {"log": [(1, True)]}


async def test_computed_keys_are_neither_stored_nor_returned(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {})).compile(saver)

    result = await graph.ainvoke({"log": ["in"]}, thread_id="t")

    stored = await saver.load("t")
    assert stored is not None
    assert {row.channel for row in stored.values} == {"log"}
    assert result == (await graph.aget_state(thread_id="t")).values == {"log": ["in"]}


@pytest.mark.parametrize("schema", [AsDataclass, AsModel])
async def test_a_result_of_a_class_that_requires_computed_keys_has_placeholders_for_them(
    saver: Checkpointer, schema: Any
) -> None:
    graph = chain_of(schema, Inputs(), ("a", {})).compile(saver)

    result = await graph.ainvoke({"log": ["in"]}, thread_id="t", version="v2")

    assert (result.value.log, result.value.remaining, result.value.is_last) == (["in"], 0, False)


@pytest.mark.parametrize("schema", [AsDataclass, AsModel])
async def test_an_instance_that_a_node_returns_does_not_write_computed_keys(saver: Checkpointer, schema: Any) -> None:
    graph = chain_of(schema, Inputs(), ("a", lambda state: state)).compile(saver)

    assert await graph.ainvoke({"log": ["in"]}, thread_id="t") == {"log": ["in", "in"]}


@pytest.mark.parametrize("result", [{"remaining": 3}, [("remaining", 3)], Command(update={"remaining": 3})])
async def test_a_node_that_writes_a_computed_key_gets_an_error(saver: Checkpointer, result: Any) -> None:
    graph = chain_of(State, Inputs(), ("a", result)).compile(saver)

    with pytest.raises(
        StateKeyError, check=of_kind("managed"), match="node 'a' writes 'remaining', which is computed"
    ) as raised:
        await graph.ainvoke({"log": []}, thread_id="t")

    assert raised.value.key == "remaining"


async def test_an_input_that_writes_a_computed_key_gets_an_error(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {})).compile(saver)

    with pytest.raises(StateKeyError, check=of_kind("managed"), match="the input writes 'is_last'"):
        await graph.ainvoke({"is_last": True}, thread_id="t")


class WithManaged(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    remaining: RemainingSteps


@pytest.mark.parametrize("option", ["input_schema", "output_schema"])
def test_separate_input_and_output_schemas_cannot_have_computed_keys(option: str) -> None:
    what = option.removesuffix("_schema")

    with pytest.raises(
        GraphValidationError, check=of_kind("graph"), match=rf"the graph's {what}: WithManaged\.remaining is computed"
    ):
        chain_of(State, Inputs(), ("a", {}), **{option: WithManaged}).compile()

    assert chain_of(State, Inputs(), ("a", {}), **{option: State}).compile().topology.output.managed


async def test_the_input_schema_of_a_node_may_have_a_computed_key_that_the_state_does_not_have(
    saver: Checkpointer,
) -> None:
    class Plain(TypedDict, total=False):
        log: Annotated[list[Any], operator.add]

    async def node(state: WithManaged) -> Plain:
        return {"log": [state["remaining"]]}

    builder: StateGraph[Plain] = StateGraph(Plain)
    builder.add_node("a", node, input_schema=WithManaged)
    builder.add_edge(START, "a")

    assert await builder.compile(saver).ainvoke({}, thread_id="t", recursion_limit=5) == {"log": [5]}


def test_a_key_cannot_be_computed_in_one_schema_and_a_channel_in_another() -> None:
    class Channel(TypedDict, total=False):
        remaining: int

    async def node(state: Channel) -> None:
        """Never called."""

    builder: StateGraph[State] = StateGraph(State)
    builder.add_node("a", node, input_schema=Channel)
    builder.add_edge(START, "a")

    with pytest.raises(
        GraphValidationError, match=r"State\.remaining is computed for each task, and Channel\.remaining is a channel"
    ):
        builder.compile()
