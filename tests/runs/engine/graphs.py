"""The graphs that workers execute in tests: each node notes its start, and returns which process executed it."""

import asyncio
import operator
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypedDict

from durable_graph import START, Command, CompiledGraph, Runtime, StateGraph, interrupt, receive, sleep, start_child
from tests.crash.engine.killed_process import kill_this_process
from tests.runs.engine.ledger import Ledger

STEPS = 20
LATER = 5
CHILDREN = 3
PAUSE = 0.3
"""Seconds until the next node of the graph `later` is due."""

Graphs = dict[str, CompiledGraph[Any, Any, Any, Any]]


class State(TypedDict, total=False):
    seconds: float
    log: Annotated[list[str], operator.add]


def done_by(log: list[str]) -> list[tuple[str, int]]:
    """The nodes in the log of a run, each with the process that executed it."""
    return [(node, int(pid)) for node, pid in (each.split() for each in log)]


class Gate:
    """A file that opens the gate for the nodes of every process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "gate"

    def open(self) -> None:
        self._path.touch()

    @property
    def is_open(self) -> bool:
        return self._path.exists()

    async def wait(self) -> None:
        while not self.is_open:  # noqa: ASYNC110  # other processes set no event of this one
            await asyncio.sleep(0.01)


def graphs_of(folder: Path) -> Graphs:
    """The graphs, whose ledger and gate are in the folder.

    `chain` has many short nodes. `gated` waits at the gate in its second node, `gated_first` in its first, `fan` in the
    first of three nodes of one superstep; `ask` waits for an answer. `block` blocks the event loop in its node for the
    seconds of its input. `tell` has two nodes in one superstep that emit an event: `patient` waits at the gate, and
    `quick` does not. `poison` kills its process in its second node, `poison_first` in its first, until the gate is
    open. Each node of `later` begins a while after the one before it. `sleeper` sleeps for a second in its first node,
    `receiver` receives three messages in its only one. `quick` has one short node. `parent` starts three children of
    the graph `child`, and awaits them.
    """
    ledger, gate = Ledger(folder), Gate(folder)

    def node(name: str, *, waits: bool = False, blocks: bool = False, kills: bool = False, asks: bool = False) -> Any:
        async def execute(state: State, runtime: Runtime) -> State:
            ledger.note(runtime)
            if kills and not gate.is_open:
                kill_this_process()
            if asks:
                interrupt("ok?")
            if waits:
                await gate.wait()
            elif blocks:
                time.sleep(state["seconds"])  # noqa: ASYNC251  # the subject of the test
            else:
                await asyncio.sleep(state.get("seconds", 0))
            return {"log": [f"{name} {os.getpid()}"]}

        return execute

    fan = StateGraph(State)
    for number in range(3):
        fan.add_node(f"fan{number}", node(f"fan{number}", waits=number == 0)).add_edge(START, f"fan{number}")
    tell = StateGraph(State)
    for name in ("quick", "patient"):
        tell.add_node(name, _telling(node(name, waits=name == "patient"))).add_edge(START, name)
    first = {"first": node("first")}
    return {
        "chain": _chain(**{f"n{number}": node(f"n{number}") for number in range(STEPS)}),
        "gated": _chain(**first, second=node("second", waits=True), third=node("third")),
        "gated_first": _chain(first=node("first", waits=True), second=node("second")),
        "fan": fan.compile(),
        "later": _later(ledger),
        "ask": _chain(ask=node("ask", asks=True)),
        "tell": tell.compile(),
        "block": _chain(**first, second=node("second", blocks=True), third=node("third")),
        "poison": _chain(**first, second=node("second", kills=True)),
        "poison_first": _chain(first=node("first", kills=True)),
        "sleeper": _chain(sleep=_sleep_for_a_second, after=node("after")),
        "receiver": _chain(receive=_receive_three),
        "quick": _chain(quick=node("quick")),
        "parent": _chain(parent=_await_three_children),
        "child": _chain(child=node("child")),
    }


def _telling(node: Any) -> Any:
    async def execute(state: State, runtime: Runtime) -> Any:
        runtime.stream_writer(os.getpid())
        return await node(state, runtime)

    return execute


async def _sleep_for_a_second(state: State) -> State:
    await sleep(timedelta(seconds=1))
    return {"log": [f"sleep {os.getpid()}"]}


async def _receive_three(state: State) -> State:
    return {"log": [f"receive {await receive('topic')}" for _ in range(3)]}


async def _await_three_children(state: State) -> State:
    seconds = state.get("seconds", 0)
    children = [await start_child("child", {"seconds": seconds, "log": [str(number)]}) for number in range(CHILDREN)]
    outputs = [await child.result() for child in children]
    return {"log": [output["log"][0] for output in outputs]}


def _later(ledger: Ledger) -> CompiledGraph[Any, Any, Any, Any]:
    def node(name: str, following: str | None) -> Any:
        async def execute(state: State, runtime: Runtime) -> Any:
            ledger.note(runtime)
            wrote = {"log": [f"{name} {os.getpid()}"]}
            return wrote if following is None else Command(update=wrote, goto=following, after=PAUSE)

        return execute

    names = [f"later{number}" for number in range(LATER)]
    builder = StateGraph(State).add_edge(START, names[0])
    for name, following in zip(names, [*names[1:], None], strict=True):
        builder.add_node(name, node(name, following), destinations=None if following is None else (following,))
    return builder.compile()


def _chain(**nodes: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_sequence(list(nodes.items())).add_edge(START, next(iter(nodes))).compile()
