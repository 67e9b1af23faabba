"""The nodes of the graphs of the scenarios, and ways to connect them."""

import operator
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, TypedDict

from durable_graph import START, Checkpointer, CompiledGraph, StateGraph
from tests.crash.engine.reporting import ask, working


class State(TypedDict, total=False):
    """`turn` distinguishes the runs of one thread."""

    log: Annotated[list[str], operator.add]
    seen: Annotated[dict[str, int], operator.or_]
    turn: int


class Turn(TypedDict, total=False):
    """The input of a nested graph."""

    turn: int


def node(turns: int = 1) -> Any:
    """A node that takes `turns` turns of the event loop, and logs its label."""

    async def run(state: State) -> State:
        async with working(state.get("turn"), turns) as label:
            return {"log": [label], "seen": {label: len(state.get("log", []))}}

    return run


def asking(*questions: str, turns: int = 1) -> Any:
    """A node that interrupts with these questions in sequence, and logs the answers."""

    async def run(state: State) -> State:
        async with working(state.get("turn"), turns) as label:
            answers = [ask(_of_turn(question, state)) for question in questions]
            return {"log": [f"{label}: {answers}"]}

    return run


def _of_turn(question: str, state: State) -> str:
    return f"{question} {state['turn']}" if "turn" in state else question


def chain(*nodes: tuple[str, Any]) -> StateGraph[State]:
    """These nodes in sequence."""
    builder = StateGraph(State)
    builder.add_sequence(nodes)
    return builder.add_edge(START, nodes[0][0])


def inside(*nodes: tuple[str, Any]) -> StateGraph[State, None, Turn, State]:
    """These nodes in sequence, as a graph that another graph runs."""
    builder = StateGraph(State, input_schema=Turn)
    builder.add_sequence(nodes)
    return builder.add_edge(START, nodes[0][0])


def remembering(graph: StateGraph[State, None, Turn, State], name: str) -> CompiledGraph[Any]:
    """A graph that keeps its state from one call of a thread to the next."""
    memory: Literal[True] = True
    return graph.compile(memory, name=name)


def described_once(describe: Callable[[], StateGraph[State]]) -> Callable[[Checkpointer], CompiledGraph[Any]]:
    """Makes the graph for a store. The graph is described only once, because thousands of processes run it."""
    topology = cache(lambda: describe().topology())

    def build(saver: Checkpointer) -> CompiledGraph[Any]:
        return CompiledGraph(topology(), saver)

    return build
