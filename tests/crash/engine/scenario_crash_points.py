"""Every point at which a process of a scenario can die, tried one by one and in pairs."""

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

from durable_graph import Durability
from durable_graph.testing import CrashPoint
from durable_graph.testing.crash import MOMENTS
from tests.crash.engine.scenario_oracle import violations
from tests.crash.engine.scenario_survival import Survival, run_scenario
from tests.crash.engine.stores import CrashStore
from tests.crash.scenarios.scenario import Scenario

Tried = tuple[Sequence[CrashPoint], list[str]]
"""The points at which processes died, and the violations."""


async def undisturbed(scenario: Scenario, store: Callable[[], CrashStore], mode: Durability) -> Survival:
    """The scenario in one process that does not crash."""
    return await _in(store(), scenario, [], mode)


async def one_crash(
    scenario: Scenario,
    store: Callable[[], CrashStore],
    mode: Durability,
    every: int = 1,
    wanted: Survival | None = None,
) -> AsyncIterator[Tried]:
    """Crash at every moment of every store call, and resume the client at another process.

    Only every `every`-th moment is tried: with 4, another moment of each call. `wanted` is the undisturbed survival.
    """
    wanted = wanted or await undisturbed(scenario, store, mode)
    async for points, survived in _with_one_more(scenario, store, [], mode, every):
        yield points, violations(scenario, wanted, survived, mode)


async def two_crashes(
    scenario: Scenario, store: Callable[[], CrashStore], mode: Durability, every: int = 1
) -> AsyncIterator[Tried]:
    """Every crash of the first process with every crash of the second, or every `every`-th of both."""
    wanted = await undisturbed(scenario, store, mode)
    async for first, _ in _with_one_more(scenario, store, [], mode, every):
        async for points, survived in _with_one_more(scenario, store, first, mode, every):
            yield points, violations(scenario, wanted, survived, mode)


async def _with_one_more(
    scenario: Scenario, store: Callable[[], CrashStore], earlier: Sequence[CrashPoint], mode: Durability, every: int
) -> AsyncIterator[tuple[Sequence[CrashPoint], Survival]]:
    """Each crash point after `earlier`, until a process makes fewer calls."""
    # Not counted beforehand: the number of calls in the mode "async" depends on how long each call takes.
    survivors = 0
    for number in count(0, every):
        call, moment = divmod(number, len(MOMENTS))
        points = [*earlier, CrashPoint(call + 1, MOMENTS[moment])]
        survived = await _in(store(), scenario, points, mode)
        if all(life.has_crashed for life in survived.lives[: len(points)]):
            survivors = 0
            yield points, survived
        elif (survivors := survivors + 1) == len(MOMENTS):
            return


async def _in(store: CrashStore, scenario: Scenario, points: Sequence[CrashPoint], mode: Durability) -> Survival:
    try:
        return await run_scenario(scenario, store, points, mode)
    finally:
        await store.close()
