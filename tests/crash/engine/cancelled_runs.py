"""Runs that are cancelled at a chosen moment, and the violations found afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio

from durable_graph import END, START, Checkpointer, CompiledGraph, Durability, ExecutionInfo, StateGraph
from durable_graph.testing import CrashingSaver
from durable_graph_sqlite import SqliteSaver
from tests.crash.engine.stored_thread import read
from tests.crash.scenarios.graph_shapes import THREAD, Shape, State, node, plain_node, watched_by
from tests.sqlite.inside import on_connection

S = TypeVar("S", bound=Checkpointer)
T = TypeVar("T")

How = Literal["task.cancel", "twice", "anyio scope", "timeout"]
HOWS: tuple[How, ...] = ("task.cancel", "twice", "anyio scope", "timeout")


@dataclass(frozen=True, slots=True)
class Moment:
    """`turns` turns of the event loop after the `event`-th start or end of a node or of a store call."""

    event: int
    turns: int


NEVER = Moment(event=0, turns=0)


@dataclass(slots=True)
class Trigger:
    """Calls `act` at the moment."""

    moment: Moment
    act: Callable[[], object]
    events: int = 0
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def tick(self) -> None:
        """Count the start or the end of a node or of a store call. May be called in another thread."""
        self.events += 1
        if self.events == self.moment.event:
            self.loop.call_soon_threadsafe(self._wait, self.moment.turns)

    def _wait(self, turns: int) -> None:
        if turns:
            self.loop.call_soon(self._wait, turns - 1)
        else:
            self.act()


class TickingSaver(CrashingSaver):
    """Ticks the trigger at the start and the end of every call."""

    def __init__(self, inner: Checkpointer, trigger: Trigger) -> None:
        super().__init__(inner)
        self._trigger = trigger

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self._trigger.tick()
        answer = await super()._call(name, call)
        self._trigger.tick()
        return answer


def branching() -> StateGraph[State]:
    """Three parallel nodes, one of them a plain function; a join; a router that waits; one more node."""

    async def onward(state: State) -> Literal["last", "__end__"]:
        await asyncio.sleep(0)
        return END if state.get("newest") == "last" else "last"

    builder = StateGraph(State)
    builder.add_node("quick", node("quick", turns=2, lone=False)).add_edge(START, "quick")
    builder.add_node("slow", node("slow", turns=40, lone=False)).add_edge(START, "slow")
    builder.add_node("plain", plain_node("plain")).add_edge(START, "plain")
    builder.add_node("all", node("all")).add_edge(["quick", "slow", "plain"], "all")
    builder.add_node("last", node("last"))
    return builder.add_conditional_edges("all", onward).add_conditional_edges("last", onward)


BRANCHING = Shape(branching, {"log": ["in"], "seen": {"in": 0}})
TASKS = 5


@dataclass(slots=True)
class Cancelled:
    """A cancelled run, and the run that resumed it. `events` is the number of events in the first."""

    was_cancelled: bool
    events: int
    state: Mapping[str, Any]
    broken: list[str]


async def cancelled(how: How, mode: Durability, moment: Moment, path: Path) -> Cancelled:
    """Run, cancel, look for leftovers, and resume with the same saver."""
    others = asyncio.all_tasks()

    async def look(sqlite: SqliteSaver) -> list[str]:
        broken = [f"{task} was left behind" for task in asyncio.all_tasks() - others]
        if await on_connection(sqlite, lambda db: db.in_transaction):
            broken.append("the connection was left inside a transaction")
        return broken

    async with SqliteSaver(path) as sqlite:
        got = await cancelled_on(sqlite, how, mode, moment, look)
    got.broken.extend(f"{task} outlived the saver" for task in asyncio.all_tasks() - others)
    return got


async def cancelled_on(
    saver: S, how: How, mode: Durability, moment: Moment, look: Callable[[S], Awaitable[list[str]]]
) -> Cancelled:
    """The same on an open saver. `look` returns the violations right after the cancelled call."""
    started: list[str] = []
    ended: list[str] = []
    trigger = Trigger(moment, act=lambda: None)

    def witness(when: Literal["start", "end"], info: ExecutionInfo) -> None:
        (started if when == "start" else ended).append(info.task_id)
        trigger.tick()

    graph = BRANCHING.on(TickingSaver(saver, trigger))
    with watched_by(witness):
        was_cancelled = await _run_and_cancel(how, graph, mode, trigger)
        events, finished, runs = trigger.events, set(ended), len(started)
        broken = await look(saver)
        state = await _resume(graph, mode)
    again = finished & set(started[runs:])
    if again:
        broken.append(f"{len(again)} tasks had finished before the call returned, and ran again")
    if len(set(started)) != TASKS:
        broken.append(f"{len(set(started))} tasks ran instead of {TASKS}")
    return Cancelled(was_cancelled, events, state, broken)


async def _run_and_cancel(how: How, graph: CompiledGraph[State], mode: Durability, trigger: Trigger) -> bool:
    """Whether the call was cancelled. Otherwise it has reached its end."""

    async def call() -> None:
        await graph.ainvoke(BRANCHING.given, thread_id=THREAD, durability=mode)

    match how:
        case "task.cancel" | "twice":
            task = asyncio.create_task(call())

            def cancel() -> None:
                task.cancel()
                if how == "twice":
                    trigger.loop.call_soon(task.cancel)

            trigger.act = cancel
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()
            return task.cancelled()
        case "anyio scope":
            with anyio.CancelScope() as scope:
                trigger.act = scope.cancel
                await call()
            return scope.cancelled_caught
        case "timeout":
            try:
                async with asyncio.timeout(None) as timeout:
                    trigger.act = lambda: timeout.reschedule(trigger.loop.time())
                    await call()
                    trigger.act = lambda: None
            except TimeoutError:
                return True
            return False


async def _resume(graph: CompiledGraph[State], mode: Durability) -> Mapping[str, Any]:
    found = await read(graph)
    if found.is_finished:
        return found.state
    given = None if found.exists else BRANCHING.given
    return await graph.ainvoke(given, thread_id=THREAD, durability=mode)
