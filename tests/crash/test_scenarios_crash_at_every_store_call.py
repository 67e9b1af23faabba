"""A process that dies at any store call while it uses LangGraph's language: another process resumes from there.

The client answers, edits and sends commands. Nothing reported to it is undone, and no answer of it is asked for again.
"""

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, MODES, Echo, in_modes, name_of
from tests.crash.engine.scenario_crash_points import one_crash, two_crashes
from tests.crash.engine.stores import CrashStore, InMemory, OnDisk, on_server
from tests.crash.scenarios.all_scenarios import SCENARIOS, SHORT_SCENARIOS
from tests.crash.scenarios.everything import EVERYTHING
from tests.crash.scenarios.scenario import Scenario

# One of this many moments is tried, where not all are. None of the numbers has the factor 3: a call has three moments,
# and each of them has its turn.
SOME, FEW = (1, 1) if IS_LONG else (11, 41)
IN_MODES = in_modes(SCENARIOS)
OF_PAIRS = 4 if IS_LONG else 19


@pytest.mark.parametrize(("scenario", "mode"), in_modes(SHORT_SCENARIOS), ids=name_of)
async def test_a_client_reaches_the_same_end_after_a_crash_at_any_store_call(
    scenario: Scenario, mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in one_crash(scenario, InMemory, mode)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 5
    echo(f"{scenario.name}, {mode}, memory: {len(tried)} crashes, 0 violations")


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], CrashStore]]:
    """A function that makes empty stores whose calls take time."""
    numbers = count()
    if request.param == "sqlite":
        yield lambda: OnDisk(tmp_path / f"{next(numbers)}.db")
    else:
        async with on_server(request.getfixturevalue("postgres")) as made:
            yield made


@pytest.mark.parametrize(("scenario", "mode"), IN_MODES, ids=[f"{scenario.name}-{mode}" for scenario, mode in IN_MODES])
async def test_a_client_reaches_the_same_end_after_a_crash_at_a_call_of_a_database(
    scenario: Scenario, mode: Durability, store: Callable[[], CrashStore], echo: Echo
) -> None:
    tried = [each async for each in one_crash(scenario, store, mode, FEW if scenario is EVERYTHING else SOME)]

    assert [each for each in tried if each[1]] == []
    assert tried
    echo(f"{scenario.name}, {mode}, on a disk or a server: {len(tried)} crashes, 0 violations")


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_of_the_everything_scenario_reaches_the_same_end_after_a_crash(
    mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in one_crash(EVERYTHING, InMemory, mode, SOME)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 10
    echo(f"{EVERYTHING.name}, {mode}, memory: {len(tried)} crashes, 0 violations")


@pytest.mark.parametrize("mode", MODES if IS_LONG else ["sync"])
@pytest.mark.parametrize("scenario", SHORT_SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_client_reaches_the_same_end_after_two_crashes(
    scenario: Scenario, mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in two_crashes(scenario, InMemory, mode, OF_PAIRS)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 3
    echo(f"{scenario.name}, {mode}: {len(tried)} pairs of crashes, 0 violations")
