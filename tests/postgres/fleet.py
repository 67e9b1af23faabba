"""Many concurrent runs and writers on a server that is disturbed, and the violations found afterwards."""

import asyncio
import operator
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import asyncpg

from durable_graph import (
    START,
    CheckpointConflictError,
    Checkpointer,
    CompiledGraph,
    ExecutionInfo,
    MemorySaver,
    StateGraph,
)
from durable_graph.checkpointing import verify
from tests.crash.engine.cancelled_runs import BRANCHING, TASKS
from tests.crash.scenarios.graph_shapes import State, watched_by


class Log(TypedDict):
    entries: Annotated[list[str], operator.add]


def log() -> StateGraph[Log]:
    """A graph whose threads are only written to from outside."""

    async def nothing(state: Log) -> None:
        return None

    return StateGraph(Log).add_node("writer", nothing).add_edge(START, "writer")


class Calls:
    """The tasks of each thread whose nodes started and ended, with counts."""

    def __init__(self) -> None:
        self.started: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
        self.ended: defaultdict[str | None, Counter[str]] = defaultdict(Counter)

    def witness(self, moment: Literal["start", "end"], info: ExecutionInfo) -> None:
        """Count the start or the end of a node."""
        (self.started if moment == "start" else self.ended)[info.thread_id][info.task_id] += 1


class Fleet:
    """Runs of one graph on one saver, each on its own thread."""

    def __init__(self, saver: Checkpointer, *, at_once: int = 50) -> None:
        self.graph: CompiledGraph[State] = BRANCHING.on(saver)
        self.calls = Calls()
        self.runs = 0
        self.broken: list[str] = []
        self.is_over = False
        self._at_once = at_once
        self._ended = asyncio.Condition()

    @asynccontextmanager
    async def sailing(self) -> AsyncIterator[None]:
        """Keep `at_once` runs in progress until the body is done, then wait for the last runs."""
        with watched_by(self.calls.witness):
            wanted = await BRANCHING.on(MemorySaver()).ainvoke(BRANCHING.given, thread_id="wanted")
            async with asyncio.TaskGroup() as group:
                for place in range(self._at_once):
                    group.create_task(self._sail(place, wanted))
                try:
                    yield
                finally:
                    self.is_over = True

    async def until(self, runs: int) -> None:
        """Return once `runs` more runs have ended."""
        goal = self.runs + runs
        async with self._ended:
            await self._ended.wait_for(lambda: self.runs >= goal)

    async def _sail(self, place: int, wanted: Any) -> None:
        number = 0
        while not self.is_over:
            thread = f"{place}-{number}"
            got = await self.graph.ainvoke(BRANCHING.given, thread_id=thread)
            ran = self.calls.started[thread]
            if got != wanted:
                self.broken.append(f"{thread} ended with {got}")
            if len(ran) != TASKS or set(ran.values()) != {1}:
                self.broken.append(f"{thread} ran {ran}")
            number += 1
            async with self._ended:
                self.runs += 1
                self._ended.notify_all()


@dataclass(slots=True)
class Writers:
    """Writers that add entries to shared threads, repeat updates after conflicts, and record acknowledged entries.

    Each writer needs its own saver: calls of one saver take turns, and never conflict. `refused` are the entries whose
    update was reported as a conflict, and `cut` those whose update raised another error: their outcome is unknown.
    """

    threads: Sequence[str]
    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    is_over: bool = False

    async def write(self, saver: Checkpointer, name: str, most: int | None = None) -> None:
        """Write to the threads in turn until `is_over`, or `most` times."""
        graph = log().compile(saver)
        number = 0
        while not self.is_over and number != most:
            await self.write_one(graph, self.threads[number % len(self.threads)], f"{name}-{number}")
            number += 1

    async def write_one(self, graph: CompiledGraph[Log], thread: str, entry: str) -> None:
        """Write one entry, and repeat it after conflicts. Each attempt has its own name."""
        attempt = 0
        while True:
            name = f"{entry}-{attempt}"
            try:
                await graph.aupdate_state(None, {"entries": [name]}, "writer", thread_id=thread)
            except CheckpointConflictError:
                self.refused.add(name)
                attempt += 1
            except BaseException:
                self.cut.add(name)
                raise
            else:
                self.acknowledged.setdefault(thread, []).append(name)
                return

    async def wrong(self, saver: Checkpointer) -> list[str]:
        """The acknowledged entries that are lost, and the entries that exist twice or should not exist."""
        found = []
        graph = log().compile(saver)
        for thread in self.threads:
            stored = await saver.load(thread)
            entries = Counter(await entries_of(graph, thread))
            if stored is not None:
                verify(stored)
            acknowledged = set(self.acknowledged.get(thread, ()))
            found += [f"{thread} lost {each}" for each in acknowledged - entries.keys()]
            found += [f"{thread} has {each} {times} times" for each, times in entries.items() if times != 1]
            found += [f"{thread} has {each}, which was refused" for each in entries.keys() & self.refused]
            found += [f"{thread} has {each}" for each in entries.keys() - acknowledged - self.cut - self.refused]
        return found


async def entries_of(graph: CompiledGraph[Log], thread: str) -> list[str]:
    """The entries of the thread."""
    entries: list[str] = (await graph.aget_state(thread_id=thread)).values.get("entries", [])
    return entries


class Watch:
    """A connection of the test that sees the server's sessions with a saver's application name."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
        self._connection = connection
        self._name = name

    async def sessions(self, where: str = "true") -> list[int]:
        """The process ids of these sessions."""
        rows = await self._connection.fetch(
            f"SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND {where} ORDER BY pid",  # noqa: S608  # of the tests
            self._name,
        )
        return [row["pid"] for row in rows]

    async def terminate(self, choose: Callable[[list[int]], int]) -> bool:
        """End one of these sessions. Returns whether a session existed."""
        sessions = await self.sessions()
        if not sessions:
            return False
        ended: bool = await self._connection.fetchval("SELECT pg_terminate_backend($1)", choose(sessions))
        return ended


@asynccontextmanager
async def watching(dsn: str, name: str) -> AsyncIterator[Watch]:
    """A watch on sessions that were opened with `named(dsn, name)`."""
    connection = await asyncpg.connect(dsn)
    try:
        yield Watch(connection, name)
    finally:
        await connection.close()


def named(dsn: str, name: str) -> str:
    """The DSN for sessions with this application name."""
    return f"{dsn}{'&' if '?' in dsn else '?'}application_name={name}"
