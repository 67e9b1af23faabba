"""Graphs whose every run leaves the same words, in any order, whichever process runs a task."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from durable_graph import START, StateGraph, interrupt, task
from tests.graphs import State


class GraphCase(msgspec.Struct, frozen=True):
    """A graph, and the words that a run of it leaves. One of its nodes is called "side"."""

    build: Callable[[], StateGraph[State]]
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in reports."""
        return self.build.__name__


def _leaves(word: str, turns: int = 0) -> Callable[[State], Awaitable[State]]:
    """A node that leaves a word after `turns` turns of the event loop."""

    async def leave(state: State) -> State:
        for _ in range(turns):
            await asyncio.sleep(0)
        return {"log": [word]}

    return leave


def _asks(word: str) -> Callable[[State], Awaitable[State]]:
    async def ask(state: State) -> State:
        return {"log": [f"{word} {interrupt(word)}"]}

    return ask


def _in_parallel(**nodes: Callable[[State], Awaitable[State]]) -> StateGraph[State]:
    """These nodes in parallel with "side"; then "end"."""
    builder = StateGraph(State)
    nodes["side"] = _leaves("side", 4)
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.add_node("end", _leaves("end")).add_edge(list(nodes), "end")


def parallel() -> StateGraph[State]:
    """Nodes of different durations."""
    return _in_parallel(quick=_leaves("quick"), slow=_leaves("slow", 9))


def nested() -> StateGraph[State]:
    """A graph inside a node."""
    inner = StateGraph(State)
    inner.add_node("x", _leaves("x", 2)).add_edge(START, "x")
    inner.add_node("y", _leaves("y", 9)).add_edge(START, "y")
    inner.add_node("z", _leaves("z")).add_edge(["x", "y"], "z")
    graph = inner.compile(name="inner")

    async def call(state: State) -> State:
        return {"log": (await graph.ainvoke({"log": []}))["log"]}

    return _in_parallel(call=call)


def calls() -> StateGraph[State]:
    """Tasks that a node calls, two concurrently and one after them."""

    @task
    async def named(word: str) -> str:
        await asyncio.sleep(0)
        return word

    async def node(state: State) -> State:
        words = await asyncio.gather(named("first"), named("second"))
        return {"log": [*words, await named("third")]}

    return _in_parallel(node=node)


def interrupts() -> StateGraph[State]:
    """Two parallel interrupts."""
    return _in_parallel(one=_asks("one"), other=_asks("other"))


def nested_interrupts() -> StateGraph[State]:
    """Two parallel interrupts inside a nested graph, and one in a concurrent task."""
    inner = StateGraph(State)
    inner.add_node("one", _asks("one")).add_edge(START, "one")
    inner.add_node("other", _asks("other")).add_edge(START, "other")
    graph = inner.compile(name="inner")

    @task
    async def ask() -> str:
        return f"third {interrupt('third')}"

    async def call(state: State) -> State:
        asked = ask()
        words = (await graph.ainvoke({"log": []}))["log"]
        return {"log": [*words, await asked]}

    return _in_parallel(call=call)


GRAPH_CASES = (
    GraphCase(parallel, ("quick", "slow", "side", "end")),
    GraphCase(nested, ("x", "y", "z", "side", "end")),
    GraphCase(calls, ("first", "second", "third", "side", "end")),
    GraphCase(interrupts, ("one yes", "other yes", "side", "end")),
    GraphCase(nested_interrupts, ("one yes", "other yes", "third yes", "side", "end")),
)
