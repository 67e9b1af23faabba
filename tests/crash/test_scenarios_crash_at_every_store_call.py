"""Whatever a process does in LangGraph's language when it dies at a call of the store, another resumes from there.

The client answers, edits and steers. Nothing that it was told is undone, and nothing that it said is asked again.
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

# Of how many moments one is tried, where not all are. None of the numbers has the factor 3: a call has three moments,
# and each of them has its turn.
SOME, FEW = (1, 1) if IS_LONG else (11, 41)
TAKING_TIME = in_modes(SCENARIOS)
OF_PAIRS = 4 if IS_LONG else 19


@pytest.mark.parametrize(("scenario", "mode"), in_modes(SHORT_SCENARIOS), ids=name_of)
async def test_a_client_comes_to_the_same_end_whenever_a_process_dies(
    scenario: Scenario, mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in one_crash(scenario, InMemory, mode)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 5
    echo(f"{scenario.name}, {mode}, memory: {len(tried)} crashes, 0 violations")


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], CrashStore]]:
    """Makes stores that are empty, in which every call takes a while."""
    numbers = count()
    if request.param == "sqlite":
        yield lambda: OnDisk(tmp_path / f"{next(numbers)}.db")
    else:
        async with on_server(request.getfixturevalue("postgres")) as made:
            yield made


@pytest.mark.parametrize(
    ("scenario", "mode"), TAKING_TIME, ids=[f"{scenario.name}-{mode}" for scenario, mode in TAKING_TIME]
)
async def test_it_does_so_where_calls_take_time(
    scenario: Scenario, mode: Durability, store: Callable[[], CrashStore], echo: Echo
) -> None:
    tried = [each async for each in one_crash(scenario, store, mode, FEW if scenario is EVERYTHING else SOME)]

    assert [each for each in tried if each[1]] == []
    assert tried
    echo(f"{scenario.name}, {mode}, on a disk or a server: {len(tried)} crashes, 0 violations")


@pytest.mark.parametrize("mode", MODES)
async def test_it_does_so_with_all_of_the_language_in_one_graph(mode: Durability, echo: Echo) -> None:
    tried = [each async for each in one_crash(EVERYTHING, InMemory, mode, SOME)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 10
    echo(f"{EVERYTHING.name}, {mode}, memory: {len(tried)} crashes, 0 violations")


@pytest.mark.parametrize("mode", MODES if IS_LONG else ["sync"])
@pytest.mark.parametrize("scenario", SHORT_SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_process_that_dies_while_it_continues_is_survived_as_well(
    scenario: Scenario, mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in two_crashes(scenario, InMemory, mode, OF_PAIRS)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 3
    echo(f"{scenario.name}, {mode}: {len(tried)} pairs of crashes, 0 violations")
