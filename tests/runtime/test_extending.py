"""`durable_graph.extending`: functions for integrations."""

from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from durable_graph import (
    START,
    Checkpointer,
    Command,
    GraphValidationError,
    OutsideOfRunError,
    StateGraph,
    UnstorableValueError,
    interrupt,
    task,
)
from durable_graph.extending import is_inside_of_run, recorded_call, remaining_supersteps, superstep_state
from tests.errors.kinds import of_kind


class Count(TypedDict):
    n: int


def graph_of(node: Any, saver: Checkpointer | None = None, state: Any = Count) -> Any:
    return StateGraph(state).add_node("node", node).add_edge(START, "node").compile(saver)


async def test_a_recorded_call_is_not_repeated_and_emits_no_event(saver: Checkpointer) -> None:
    made: list[int] = []

    async def double(n: int) -> int:
        made.append(n)
        return 2 * n

    def triple(n: int) -> int:
        made.append(n)
        return 3 * n

    async def node(state: Count) -> Count:
        found = await recorded_call("double", double, 2) + await recorded_call("triple", triple, 3)
        interrupt("Go on?")
        return {"n": found}

    graph = graph_of(node, saver)
    events = [part async for part in graph.astream({"n": 0}, thread_id="t", stream_mode="tasks")]
    result = await graph.ainvoke(Command(resume=True), thread_id="t")

    assert result == {"n": 13}
    assert made == [2, 3]
    assert {event["name"] for event in events} == {"node"}


async def test_a_node_can_read_the_state_of_its_superstep_and_the_number_of_remaining_supersteps() -> None:
    class Model(BaseModel):
        n: int = 0

    seen: list[Any] = []

    async def node(state: Model) -> Any:
        seen.extend([is_inside_of_run(), superstep_state(), remaining_supersteps()])

    await graph_of(node, state=Model).ainvoke({"n": 7}, {"recursion_limit": 5})

    assert seen == [True, Model(n=7), 5]


async def test_functions_for_integrations_are_refused_outside_of_a_run() -> None:
    assert not is_inside_of_run()
    for use in (lambda: recorded_call("call", print), superstep_state, remaining_supersteps):
        with pytest.raises(OutsideOfRunError):
            use()


async def test_a_recorded_call_whose_name_cannot_be_in_a_namespace_is_refused() -> None:
    async def node(state: Count) -> None:
        recorded_call("a|b", print)

    with pytest.raises(
        GraphValidationError, check=of_kind("argument"), match=r"'a\|b' cannot be the name of a call: it contains"
    ):
        await graph_of(node).ainvoke({"n": 0})


async def test_the_error_for_a_task_result_that_cannot_be_stored_names_the_task(saver: Checkpointer) -> None:
    @task
    async def make() -> Any:
        return {"made": object()}

    async def node(state: Count) -> None:
        await make()

    with pytest.raises(UnstorableValueError, match=r"the result of task 'make'\['made'\] is a"):
        await graph_of(node, saver).ainvoke({"n": 0}, thread_id="t")
