"""A store that fails once and then works, and a client that retries at the same process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import TypeVar

from durable_graph import Durability, StoreUnavailableError
from durable_graph.testing import CrashingSaver, CrashPoint
from tests.crash.engine.client import Client
from tests.crash.engine.process_log import LogLine
from tests.crash.engine.reporting import Report, reports_to
from tests.crash.engine.scenario_crash_points import undisturbed
from tests.crash.engine.scenario_oracle import losses
from tests.crash.engine.scenario_survival import Life, Survival
from tests.crash.engine.stored_namespaces import StoredNamespaces, look
from tests.crash.engine.stores import CrashStore
from tests.crash.scenarios.scenario import Progress, Scenario

T = TypeVar("T")


class FailingSaver(CrashingSaver):
    """Unavailable for one call, which does not arrive, and available for the next."""

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls += 1
        self.names.append(name)
        if self.point is not None and self.point.call == self.calls:
            self.crashed = True
            why = f"call {self.calls}, {name}"
            raise StoreUnavailableError("the store", why)
        return await call()


async def one_outage(
    scenario: Scenario, store: Callable[[], CrashStore], mode: Durability, every: int = 1
) -> AsyncIterator[tuple[int, list[str]]]:
    """An outage at every store call, or at each `every`-th, and the losses that it causes."""
    wanted = await undisturbed(scenario, store, mode)
    for call in count(1, every):
        found = store()
        saver = FailingSaver(found.process(), CrashPoint(call, "before"))
        try:
            survived = await _run_to_end(scenario, saver, mode)
        finally:
            await found.close()
        if not saver.crashed:
            return
        yield call, losses(scenario, wanted, survived, mode)


async def _run_to_end(scenario: Scenario, saver: FailingSaver, mode: Durability) -> Survival:
    """The survival of a client that retries. Each attempt counts as a life."""
    graph, progress = scenario.build(saver), Progress()
    lives: list[Life] = []
    found: list[StoredNamespaces] = [await look(scenario.build(saver.inner), ())]
    namespaces: set[str] = set()
    is_over = False
    while not is_over:
        life = Life()
        lives.append(life)

        def listen(report: Report, life: Life = life) -> None:
            life.note(LogLine(report))

        with reports_to(listen):
            try:
                await Client(scenario, progress, graph, mode, life.note).resume()
                is_over = True
            except StoreUnavailableError:
                life.has_crashed = True
        namespaces.update(report.position.ns for report in life.report)
        found.append(await look(scenario.build(saver.inner), namespaces))
    return Survival(lives, found, progress)
