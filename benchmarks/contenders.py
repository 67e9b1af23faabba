"""Every contender of one graph on one store, ready to run it on a new thread."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from benchmarks.engines.floor import Floor
from benchmarks.engines.log import Durability, Store
from benchmarks.engines.skeleton import Skeleton
from benchmarks.engines.stores import MemoryStore, SqliteStore, postgres_store
from benchmarks.flush import Disk
from benchmarks.lab import Lab
from benchmarks.libraries import Library
from benchmarks.record import FLOOR, SKELETON, Clock, Flush
from benchmarks.shapes import Shape

RunOnce = Callable[[], Awaitable[object]]
Kind = Literal["none", "memory", "sqlite", "postgres"]

NAMES: Mapping[Kind, str] = {
    "none": "no store",
    "memory": "memory",
    "sqlite": "SQLite",
    "postgres": "PostgreSQL",
}


class Place(NamedTuple):
    """A kind of store, and the disk where it is, if it is on one."""

    kind: Kind
    disk: Disk | None = None

    @property
    def flush(self) -> Flush:
        return "none" if self.disk is None else self.disk.flush

    @property
    def clock(self) -> Clock:
        """Nothing waits where there is no database: its CPU time does not depend on other load."""
        return "CPU" if self.disk is None else "elapsed"

    @asynccontextmanager
    async def saver(self, library: Library) -> AsyncIterator[Any]:
        """An empty saver of a library, or None without a store."""
        if self.kind == "none":
            yield None
        elif self.kind == "memory":
            async with library.memory() as memory:
                yield memory
        elif self.disk is not None and self.kind == "sqlite":
            async with library.sqlite(self.disk.new_file()) as sqlite:
                yield sqlite
        elif self.disk is not None:
            async with self.disk.new_database() as dsn, library.postgres(dsn) as postgres:
                yield postgres

    @asynccontextmanager
    async def store(self, durability: Durability = "sync") -> AsyncIterator[Store | None]:
        """An empty store of an engine, or None without one."""
        if self.kind == "none":
            yield None
        elif self.kind == "memory":
            yield MemoryStore()
        elif self.disk is not None and self.kind == "sqlite":
            async with aclosing(SqliteStore(self.disk.new_file())) as sqlite:
                yield sqlite
        elif self.disk is not None:
            # Two writers would not keep the order in which one thread commits without waiting.
            writers = 1 if durability == "async" else 2
            async with self.disk.new_database() as dsn, postgres_store(dsn, writers) as postgres:
                yield postgres


def places(lab: Lab, *kinds: Kind) -> list[Place]:
    """Each kind of store on each disk."""
    return [Place(kind, disk) for kind in kinds for disk in (lab.disks if kind in ("sqlite", "postgres") else (None,))]


def on_library(library: Library, saver: Any, shape: Shape, durability: Durability = "sync") -> RunOnce:
    """Run the graph on a new thread, and check its result."""
    graph = shape.build(library).compile(checkpointer=saver)
    options: dict[str, Any] = {} if saver is None else {"durability": durability}

    async def run() -> None:
        result = await graph.ainvoke(dict(shape.given), new_thread(shape.units), **options)
        assert shape.has_ended_well(result), result

    return run


def on_engine(engine: Floor | Skeleton, shape: Shape) -> RunOnce:
    async def run() -> None:
        assert shape.has_ended_well(await engine.run(uuid4().hex, shape.given))

    return run


def new_thread(supersteps: int) -> dict[str, Any]:
    """The config of a run on a thread of its own."""
    return {"configurable": {"thread_id": uuid4().hex}, "recursion_limit": supersteps + 10}


@asynccontextmanager
async def contenders(
    lab: Lab, shape: Shape, place: Place, durability: Durability = "sync", others: Sequence[Library] = ()
) -> AsyncIterator[dict[str, RunOnce]]:
    """A run of each contender by its name, each on a store of its own."""
    async with AsyncExitStack() as stack:

        async def opened(manager: AbstractAsyncContextManager[Any]) -> Any:
            return await stack.enter_async_context(manager)

        runs: dict[str, RunOnce] = {
            FLOOR: on_engine(Floor(shape.program, await opened(place.store(durability)), durability), shape),
            SKELETON: on_engine(Skeleton(shape.program, await opened(place.store(durability)), durability), shape),
        }
        for library in (*lab.libraries, *others):
            runs[library.name] = on_library(library, await opened(place.saver(library)), shape, durability)
        yield runs


async def measure_on_each_store(
    lab: Lab,
    what: str,
    unit: str,
    units: int,
    floor: Callable[[Store, int], RunOnce],
    ours: Callable[[Library, Any, int], RunOnce],
) -> None:
    """Measure so many units on every store: each library by `ours`, and the floor of the same commits."""
    for place in places(lab, "memory", "sqlite", "postgres"):
        async with AsyncExitStack() as stack:
            works: dict[str, RunOnce] = {}
            store = await stack.enter_async_context(place.store())
            if store is not None:
                works[FLOOR] = floor(store, units)
            for library in lab.libraries:
                works[library.name] = ours(library, await stack.enter_async_context(place.saver(library)), units)
            name = f"{what}, {NAMES[place.kind]}"
            await lab.measure(name, unit, works, units, rounds=11, flush=place.flush, clock=place.clock)
