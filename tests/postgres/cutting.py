"""A scenario that runs through connections that are cut, and the content of the store afterwards."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from durable_graph import START, Durability, StateGraph, StoreUnavailableError
from durable_graph_postgres import PostgresSaver
from tests.crash.engine.client import Client
from tests.crash.engine.process_log import LogLine
from tests.crash.engine.reporting import Report, reports_to
from tests.crash.engine.scenario_survival import Life, Survival
from tests.crash.engine.stored_namespaces import look
from tests.crash.scenarios.nodes import State, asking, described_once, inside, node
from tests.crash.scenarios.scenario import Answer, Give, Progress, Scenario
from tests.postgres.proxy import MOMENTS, Cut, Proxy, proxied
from tests.postgres.trips import named
from tests.savers import schema_of_its_own

_TABLES = ("threads", "branches", "checkpoints", "channel_rows", "tasks")
_DECIDING = ("apply", "apply_plain", "COMMIT")
_NAME = "through the proxy"
_LONG = 30.0
_POOL_SIZE = 2


def varied() -> StateGraph[State]:
    """A node, then three parallel nodes, then an interrupt, then a nested graph, then a node."""
    builder = StateGraph(State)
    builder.add_node("first", node()).add_edge(START, "first")
    for turns, name in enumerate("abc", 1):
        builder.add_node(name, node(turns)).add_edge("first", name)
    builder.add_node("ask", asking("go on?")).add_edge(["a", "b", "c"], "ask")
    builder.add_node("inside", inside(("x", node()), ("y", node())).compile(name="inside")).add_edge("ask", "inside")
    return builder.add_node("last", node()).add_edge("inside", "last")


VARIED = Scenario("varied", described_once(varied), (Give({"log": ["in"]}), Answer({"go on?": "yes"})), width=3)


Rows = dict[str, list[tuple[object, ...]]]
"""Every row of every table."""


@dataclass(slots=True)
class Lived:
    """The survival of the scenario, its round trips, and the violations on the wire."""

    survival: Survival
    trips: list[str]
    was_cut: bool
    broken: list[str]


class Wire:
    """A schema, a proxy in front of its server, and a connection that bypasses the proxy."""

    def __init__(self, dsn: str, schema: str, proxy: Proxy, direct: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.proxy = proxy
        self.schema = schema
        self.around: PostgresSaver = PostgresSaver(dsn, schema=schema, pool_size=1)
        self._direct = direct

    def saver(self, patience: float = _LONG) -> PostgresSaver:
        """A process's saver. Its pool is so small that connections that are not returned block later calls."""
        url = f"{self.proxy.url}?application_name={_NAME}"
        return PostgresSaver(url, schema=self.schema, pool_size=_POOL_SIZE, patience=patience)

    async def empty(self) -> None:
        """Remove every thread."""
        await self._direct.execute(";".join(f'DELETE FROM "{self.schema}".{table}' for table in _TABLES))  # noqa: S608  # names of its own

    async def rows(self) -> Rows:
        """Every row of every table."""
        return {
            table: sorted(tuple(row) for row in await self._direct.fetch(f'SELECT * FROM "{self.schema}".{table}'))  # noqa: S608  # names of its own
            for table in _TABLES
        }

    async def sessions(self) -> int:
        """The number of sessions that the server has for savers behind the proxy."""
        found: int = await self._direct.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", _NAME
        )
        return found

    async def until_gone(self) -> None:
        """Return once the server has no session of a saver behind the proxy."""
        async with asyncio.timeout(_LONG):
            while await self.sessions():  # noqa: ASYNC110  # the server has no event to wait for
                await asyncio.sleep(0)


@asynccontextmanager
async def wired(dsn: str) -> AsyncIterator[Wire]:
    """A wire to tables that exist and are empty. On exit it waits until the sessions of cut connections have ended."""
    async with schema_of_its_own(dsn) as schema, proxied(dsn) as proxy:
        direct = await asyncpg.connect(dsn)
        wire = Wire(dsn, schema, proxy, direct)
        try:
            async with wire.around:
                yield wire
                await wire.until_gone()
        finally:
            await direct.close()


def cuts_of(trips: Sequence[str], *, is_long: bool, refusals: int = 0) -> list[Cut]:
    """Every moment of every round trip. If not `is_long`: every moment of the deciding ones, and one of each other."""
    cuts = []
    for trip, name in enumerate(trips, 1):
        moments = MOMENTS if is_long or name in _DECIDING else MOMENTS[trip % len(MOMENTS) :][:1]
        cuts += [Cut(trip, moment, refusals) for moment in moments]
    return cuts


async def run_with_cuts(
    scenario: Scenario, wire: Wire, mode: Durability, cuts: Sequence[Cut] = (), *, patience: float = _LONG
) -> Lived:
    """Run the scenario in one process. Its client retries when the store is reported as unavailable."""
    await wire.empty()
    wire.proxy.expect(*cuts)
    progress, lives, namespaces = Progress(), list[Life](), set[str]()
    found = [await look(scenario.build(wire.around), ())]
    saver, broken = wire.saver(patience), list[str]()
    try:
        async with asyncio.timeout(_LONG):
            while not lives or lives[-1].has_crashed:
                lives.append(await _live(scenario, saver, progress, mode))
                wire.proxy.refuse(0)
                namespaces.update(report.position.ns for report in lives[-1].report)
                found.append(await look(scenario.build(wire.around), namespaces))
        connections = await wire.proxy.connections(at_most=_POOL_SIZE)
        if connections > _POOL_SIZE:
            broken.append(f"{connections} connections are open")
    finally:
        await saver.aclose()
    await wire.proxy.until_quiet()
    return Lived(Survival(lives, found, progress), named(wire.proxy.trips, wire.schema), wire.proxy.has_cut, broken)


async def _live(scenario: Scenario, saver: PostgresSaver, progress: Progress, mode: Durability) -> Life:
    """Run until the scenario is over, or until the store is reported as unavailable."""
    life = Life()

    def listen(report: Report) -> None:
        life.note(LogLine(report))

    with reports_to(listen):
        try:
            await Client(scenario, progress, scenario.build(saver), mode, life.note).resume()
        except StoreUnavailableError:
            life.has_crashed = True
    return life
