"""Graphs of every shape, whose nodes report their starts and ends with their task."""

import asyncio
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypedDict

from durable_graph import END, START, Checkpointer, CompiledGraph, ExecutionInfo, Runtime, Send, StateGraph
from durable_graph.graph import Topology

Witness = Callable[[Literal["start", "end"], ExecutionInfo], None]
"""Called by every node when it starts and when it is about to return."""

THREAD = "t"

_witness: ContextVar[Witness] = ContextVar("witness")


@contextmanager
def watched_by(witness: Witness) -> Iterator[None]:
    """Have the nodes of runs that start inside the body call the witness."""
    before = _witness.set(witness)
    try:
        yield
    finally:
        _witness.reset(before)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    seen: Annotated[dict[str, int], operator.or_]
    newest: str


class Item(TypedDict):
    item: int


def notify_witness(moment: Literal["start", "end"], info: ExecutionInfo) -> None:
    """Called by a node when it starts and when it is about to return."""
    _witness.get()(moment, info)


@dataclass(frozen=True, slots=True)
class Shape:
    """A graph, and the input that its thread is started with."""

    describe: Callable[[], StateGraph[State]]
    given: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.describe.__name__

    @property
    def topology(self) -> Topology:
        """The graph, described only once, because thousands of processes run it."""
        return _topology(self.describe)

    def on(self, saver: Checkpointer) -> CompiledGraph[State]:
        """The graph, ready to run."""
        return CompiledGraph(self.topology, saver)


@cache
def _topology(describe: Callable[[], StateGraph[State]]) -> Topology:
    return describe().topology()


def node(name: str, *, turns: int = 1, lone: bool = True) -> Any:
    """A node that takes `turns` turns of the event loop. `lone`: no node runs in parallel, so it may set `newest`."""

    async def run(state: State, runtime: Runtime) -> State:
        notify_witness("start", runtime.execution_info)
        for _ in range(turns):
            await asyncio.sleep(0)
        written: State = {"log": [name], "seen": {name: len(state.get("log", []))}}
        if lone:
            written["newest"] = name
        notify_witness("end", runtime.execution_info)
        return written

    return run


def plain_node(name: str) -> Any:
    """A node that is a plain function, so that it runs in a thread."""

    def run(state: State, runtime: Runtime) -> State:
        notify_witness("start", runtime.execution_info)
        written: State = {"log": [name], "seen": {name: len(state.get("log", []))}}
        notify_witness("end", runtime.execution_info)
        return written

    return run


def chain() -> StateGraph[State]:
    """a, b and c in sequence."""
    builder = StateGraph(State)
    for before, name in zip((START, "a", "b"), "abc", strict=True):
        builder.add_node(name, node(name)).add_edge(before, name)
    return builder


def fan_out() -> StateGraph[State]:
    """Four parallel nodes, twice, then one node. The last task of the plan finishes first."""
    builder = StateGraph(State)
    for store, name in enumerate("abcd"):
        builder.add_node(name, node(name, turns=8 * (4 - store), lone=False)).add_edge(START, name)
        again = f"{name}2"
        builder.add_node(again, node(again, turns=8 * (4 - store), lone=False)).add_edge(name, again)
        builder.add_edge(again, "end")
    return builder.add_node("end", node("end"))


def map_reduce() -> StateGraph[State]:
    """Four tasks of one node, each with its own argument, and a node that sees all results."""

    async def measure(given: Item, runtime: Runtime) -> State:
        notify_witness("start", runtime.execution_info)
        for _ in range(8 * (5 - given["item"])):
            await asyncio.sleep(0)
        notify_witness("end", runtime.execution_info)
        return {"log": [f"item {given['item']}"], "seen": {str(given["item"]): given["item"] ** 2}}

    def deal(state: State) -> list[Send]:
        return [Send("measure", {"item": item}) for item in range(4)]

    builder = StateGraph(State)
    builder.add_node("split", node("split")).add_edge(START, "split")
    builder.add_conditional_edges("split", deal, ["measure"])
    builder.add_node("measure", measure, input_schema=Item).add_edge("measure", "reduce")
    return builder.add_node("reduce", node("reduce"))


def loop() -> StateGraph[State]:
    """One node that repeats until its router ends the run."""

    async def enough(state: State) -> Literal["step", "__end__"]:
        return END if len(state["log"]) > 4 else "step"

    builder = StateGraph(State)
    builder.add_node("step", node("step")).add_edge(START, "step")
    return builder.add_conditional_edges("step", enough)


def join() -> StateGraph[State]:
    """A join whose sources finish in different supersteps: it is half full in between."""
    builder = StateGraph(State)
    for name in ("early", "b", "c", "late", "after"):
        builder.add_node(name, node(name, turns=9 if name == "early" else 1, lone=False))
    builder.add_edge(START, "early").add_edge(START, "b").add_edge("b", "c").add_edge("c", "late")
    return builder.add_edge(["early", "late"], "after")


SHAPES = tuple(
    Shape(describe, {"log": ["in"], "seen": {"in": 0}}) for describe in (chain, fan_out, map_reduce, loop, join)
)
