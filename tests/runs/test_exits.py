"""A node that calls `sys.exit` under a worker: its run fails, and the worker executes the other runs."""

import sys
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, CompiledGraph, NodeExitedError, StateGraph, entrypoint, task
from durable_graph.errors import RunFailedError
from durable_graph.runs import App

pytestmark = pytest.mark.every_store


def joined(old: list[str], new: list[str]) -> list[str]:
    return [*old, *new]


class State(TypedDict, total=False):
    log: Annotated[list[str], joined]


async def leave(state: State) -> State:
    sys.exit(3)


def leave_in_thread(state: State) -> State:
    sys.exit(3)


async def stay(state: State) -> State:
    return {"log": ["stay"]}


@task
async def leaving() -> str:
    sys.exit(3)


@task
def leaving_in_thread() -> str:
    sys.exit(3)


async def call(state: State) -> State:
    return {"log": [await leaving()]}


async def call_in_thread(state: State) -> State:
    return {"log": [await leaving_in_thread()]}


def graph_of(*nodes: Any) -> CompiledGraph[Any, Any, Any, Any]:
    """A graph whose nodes run in parallel."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for node in nodes:
        builder.add_node(getattr(node, "__name__", "nested"), node)
        builder.add_edge(START, getattr(node, "__name__", "nested"))
    return builder.compile()


GRAPHS = {
    "alone": graph_of(leave),
    "thread": graph_of(leave_in_thread),
    "sibling": graph_of(leave, stay),
    "thread_and_sibling": graph_of(leave_in_thread, stay),
    "nested": graph_of(graph_of(leave)),
    "task": graph_of(call),
    "task_in_thread": graph_of(call_in_thread),
}


@pytest.mark.parametrize("name", GRAPHS)
async def test_a_node_that_exits_fails_its_run_and_the_worker_continues(saver: Checkpointer, name: str) -> None:
    app = App({**GRAPHS, "stay": graph_of(stay)}, saver)
    handle = await app.start(name, {})
    async with app.worker() as worker:
        with pytest.raises(RunFailedError, match=r"raised SystemExit\(3\), which would end the worker's process"):
            await handle.result(20)
        assert await (await app.start("stay", {})).result(20) == {"log": ["stay"]}
        assert worker.id
    status = await handle.status()
    assert (status.state, status.attempt) == ("failed", 1)


async def test_an_entrypoint_that_exits_fails_its_run(saver: Checkpointer) -> None:
    @entrypoint()
    async def flow(given: str) -> str:
        sys.exit(given)

    app = App({"flow": flow}, saver)
    async with app.worker():
        handle = await app.start("flow", "bye")
        with pytest.raises(RunFailedError, match="'bye'"):
            await handle.result(20)


def test_the_error_has_the_node_and_the_code_of_the_exit() -> None:
    error = NodeExitedError("leave", "x" * 1000)
    assert (error.node, error.code) == ("leave", "x" * 1000)
    assert len(str(error)) <= 400
