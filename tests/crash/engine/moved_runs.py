"""A run under a worker, with a crash or a move at a chosen call of the worker's store."""

import asyncio
import operator
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Annotated, Any, TypedDict

from durable_graph import START, Checkpointer, CompiledGraph, StateGraph, receive, sleep
from durable_graph.runs import App, RunHandle, Worker
from durable_graph.testing import CrashingSaver, CrashPoint
from durable_graph.testing.crash import Moment
from tests.crash.engine.stores import CrashStore

THREAD = "t"
TOPIC = "parcel"
LOG = ["first", "left", "right", "wait", "last"]
SUPERSTEPS = [{"first"}, {"left", "right"}, {"wait"}, {"last"}]
LEASE = 3600.0
PATIENCE = 30.0

Waiting = Callable[[], Awaitable[object]]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


@dataclass(slots=True)
class Begun:
    """A node that a process began. The process is known by its name."""

    process: str
    node: str


def graph_of(process: str, begun: list[Begun], waiting: Waiting | None) -> CompiledGraph[Any, Any, Any, Any]:
    """A node, two parallel nodes of which one takes longer, a node that awaits `waiting`, and a last node."""

    def node(name: str, turns: int = 0) -> Any:
        async def execute(state: State) -> State:
            begun.append(Begun(process, name))
            for _ in range(turns):
                await asyncio.sleep(0)
            if name == "wait" and waiting is not None:
                await waiting()
            return {"log": [name]}

        return execute

    builder = StateGraph(State)
    builder.add_node("first", node("first")).add_edge(START, "first")
    builder.add_node("left", node("left")).add_edge("first", "left")
    builder.add_node("right", node("right", turns=20)).add_edge("first", "right")
    builder.add_node("wait", node("wait")).add_edge(["left", "right"], "wait")
    builder.add_node("last", node("last")).add_edge("wait", "last")
    return builder.compile()


async def for_a_message() -> None:
    assert await receive(TOPIC) == "X1"


async def for_a_day() -> None:
    await sleep(timedelta(days=1))


@dataclass(slots=True)
class World:
    """A store, the process "a" whose calls of the store are counted, and an app outside of this process.

    `inner` is the saver of "a" without the count, and `outside` an app on it. `begun` are the nodes of all processes.
    """

    store: CrashStore
    waiting: Waiting | None = None
    begun: list[Begun] = field(default_factory=list)
    inner: Checkpointer = field(init=False)
    outside: App = field(init=False)
    handle: RunHandle = field(init=False)

    @classmethod
    async def opened(cls, store: CrashStore, waiting: Waiting | None = None) -> "World":
        """With a run that is not claimed yet."""
        world = cls(store, waiting)
        world.inner = store.process()
        world.outside = world.app("outside", world.inner)
        world.handle = await world.outside.start("chain", {}, thread_id=THREAD)
        return world

    def app(self, process: str, saver: Checkpointer) -> App:
        """The app of a process."""
        return App({"chain": graph_of(process, self.begun, self.waiting)}, saver)

    def saver(self, point: CrashPoint, move: Waiting | None = None) -> CrashingSaver:
        """The saver of the process "a"."""
        return CrashingSaver(self.inner, point, move=move)

    def worker(self, saver: CrashingSaver) -> Worker:
        """The worker of the process "a". It makes no heartbeat and no sweep by itself."""
        return self.app("a", saver).worker(lease=LEASE, grace=0)

    async def finish_elsewhere(self) -> None:
        """Execute the run to its end in the process "b"."""

        async def finish() -> None:
            app = self.app("b", self.store.process())
            async with app.worker(lease=LEASE):
                await (await app.find(self.handle.run_id)).result(PATIENCE)

        # Without the context of a node of "a", whose call of the store this may be part of.
        await asyncio.get_running_loop().create_task(finish(), context=Context())

    async def idle(self, worker: Worker) -> str:
        """The state of the run once the worker has nothing to do."""
        while True:
            before = await self.handle.status()
            is_due = await self.outside.store.next_due(["chain"]) == 0
            status = await self.handle.status()
            is_still = (before.state, before.attempt) == (status.state, status.attempt)
            if status.state != "running" and is_still and not (is_due or worker.running):
                return status.state
            if is_due:
                worker.nudge()
            await asyncio.sleep(0.002)

    async def has_ended(self) -> bool:
        """Whether the store says that the run has ended."""
        return (await self.handle.status()).has_ended

    async def violations(self) -> list[str]:
        """The violations by the run, which has ended."""
        status = await self.handle.status()
        if status.state != "done":
            return [f"the run is {status.state}: {status.error}"]
        found = []
        output = await self.handle.result(PATIENCE)
        if output["log"] != LOG:
            found.append(f"the log is {output['log']}")
        history = [each async for each in self.outside.graph("chain").aget_state_history(thread_id=THREAD)]
        if len(history) != len(SUPERSTEPS) + 1:
            found.append(f"{len(history)} checkpoints")
        if left := await self.outside.store.inbox(THREAD, [TOPIC]):
            found.append(f"left in the inbox: {left}")
        return found

    def nodes_of(self, process: str, since: int = 0) -> list[str]:
        """The nodes that the process began, from a position of `begun` on."""
        return [each.node for each in self.begun[since:] if each.process == process]


Reached = tuple[bool, list[str]]
"""Whether the process made the call at which something was to happen, and the violations."""


async def at_every_call(
    store: Callable[[], CrashStore],
    moments: Sequence[Moment],
    scenario: Callable[[World, CrashPoint], Awaitable[Reached]],
    waiting: Waiting | None = None,
) -> list[tuple[CrashPoint, list[str]]]:
    """The violations of each point, in a world of its own, until the process makes fewer calls."""
    tried: list[tuple[CrashPoint, list[str]]] = []
    # Not counted beforehand: how often a worker looks for runs depends on how long each call takes.
    for call in count(1):
        was_reached = False
        for moment in moments:
            made = store()
            try:
                is_reached, broken = await scenario(await World.opened(made, waiting), CrashPoint(call, moment))
            finally:
                await made.close()
            if is_reached:
                was_reached = True
                tried.append((CrashPoint(call, moment), broken))
        if not was_reached:
            return tried
    raise AssertionError
