"""The graphs of the service's tests, and an app of them."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from durable_graph import START, Checkpointer, CompiledGraph, StateGraph, interrupt, receive
from durable_graph.runs import App

Graph = CompiledGraph[Any, Any, Any, Any]

SECRET = "a-secret-value-of-the-state"  # noqa: S105  # a value that no error and no log may have


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    note: Any


class Gates:
    """Events that nodes wait for, and set when they have begun."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()


def node(name: str) -> Any:
    async def execute(state: State) -> State:
        return {"log": [name]}

    return execute


async def ask(state: State) -> State:
    return {"log": [interrupt({"question": "ok?"})]}


async def ask_twice(state: State) -> State:
    return {"log": [interrupt("one?"), interrupt("two?")]}


async def fail(state: State) -> State:
    message = "it cannot be done"
    raise ValueError(message)


async def hear(state: State) -> State:
    return {"log": [await receive("topic")]}


def sequence(**nodes: Any) -> Graph:
    return StateGraph(State).add_sequence(list(nodes.items())).add_edge(START, next(iter(nodes))).compile()


def graphs(gates: Gates) -> dict[str, Graph]:
    """`chain` has three nodes. `ask` asks in its second one, `ask_twice` two questions in its only one. `fail` fails,
    `hear` waits for a message. `gated` waits at the gate. `outer` has a nested graph, which asks."""

    async def wait(state: State) -> State:
        gates.reached.set()
        await gates.open.wait()
        return {"log": ["gated"]}

    return {
        "chain": sequence(one=node("one"), two=node("two"), three=node("three")),
        "ask": sequence(first=node("first"), ask=ask, last=node("last")),
        "ask_twice": sequence(ask=ask_twice),
        "fail": sequence(fail=fail),
        "hear": sequence(hear=hear),
        "gated": sequence(wait=wait),
        "outer": sequence(inner=sequence(first=node("first"), ask=ask), after=node("after")),
    }


def app_of(saver: Checkpointer, gates: Gates | None = None) -> App:
    return App(graphs(gates or Gates()), saver)
