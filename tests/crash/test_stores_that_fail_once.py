"""A store that is unavailable for one call fails that call. No node fails, and nothing is lost."""

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, Echo, in_modes, name_of
from tests.crash.engine.outages import one_outage
from tests.crash.engine.stores import InMemory
from tests.crash.scenarios.all_scenarios import SCENARIOS, SHORT_SCENARIOS
from tests.crash.scenarios.scenario import Scenario


@pytest.mark.parametrize(
    ("scenario", "mode"),
    in_modes(SCENARIOS if IS_LONG else SHORT_SCENARIOS),
    ids=name_of,
)
async def test_a_client_that_retries_after_an_outage_reaches_the_same_end(
    scenario: Scenario, mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in one_outage(scenario, InMemory, mode)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 5
    echo(f"{scenario.name}, {mode}: {len(tried)} outages, 0 violations")
