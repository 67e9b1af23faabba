"""A connection that is cut before, in or after any round trip only delays a run. Nothing is lost or done twice."""

from collections.abc import Callable

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG
from tests.crash.engine.repeatable_ids import make_ids_repeatable
from tests.crash.engine.scenario_oracle import losses, violations
from tests.crash.scenarios.all_scenarios import SHORT_SCENARIOS
from tests.crash.scenarios.nested_graphs import NESTED
from tests.crash.scenarios.scenario import Scenario
from tests.postgres.cutting import VARIED, Lived, Wire, cuts_of, run_with_cuts, wired
from tests.postgres.proxy import Cut

Judge = Callable[[Lived, Lived], list[str]]
Found = tuple[Cut, str, list[str]]
"""A cut, the statement that it hit, and the violations that it caused."""


async def cut_everywhere(
    scenario: Scenario,
    wire: Wire,
    mode: Durability,
    judge: Judge,
    *,
    every: int = 1,
    refusals: int = 0,
    patience: float = 30,
) -> list[Found]:
    """Run the scenario once for each cut: at every moment of every round trip, or at each `every`-th."""
    undisturbed = await run_with_cuts(scenario, wire, mode)
    assert judge(undisturbed, undisturbed) == []
    found = []
    for cut in cuts_of(undisturbed.trips, is_long=IS_LONG, refusals=refusals)[::every]:
        lived = await run_with_cuts(scenario, wire, mode, [cut], patience=patience)
        found.append((cut, undisturbed.trips[cut.trip - 1], judge(undisturbed, lived)))
    return found


@pytest.fixture(autouse=True)
def _runs_are_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    make_ids_repeatable(monkeypatch)


def unnoticed(scenario: Scenario, mode: Durability) -> Callable[[Lived, Lived], list[str]]:
    """The client gets no error, and the stored rows are the same to the byte."""

    def judge(undisturbed: Lived, lived: Lived) -> list[str]:
        errors = [f"the client got {len(lived.survival.lives) - 1} errors"] if len(lived.survival.lives) > 1 else []
        return [*errors, *lived.broken, *violations(scenario, undisturbed.survival, lived.survival, mode)]

    return judge


def nothing_lost(scenario: Scenario, mode: Durability) -> Callable[[Lived, Lived], list[str]]:
    """The client reaches the same end, whatever errors it gets, and nothing recorded runs again."""

    def judge(undisturbed: Lived, lived: Lived) -> list[str]:
        return [*lived.broken, *losses(scenario, undisturbed.survival, lived.survival, mode)]

    return judge


@pytest.mark.parametrize("mode", ["sync", "async", "exit"] if IS_LONG else ["sync"])
async def test_a_run_whose_connection_is_cut_continues_unnoticed(postgres: str, mode: Durability) -> None:
    async with wired(postgres) as wire:
        judge = unnoticed(VARIED, mode)
        tried = await cut_everywhere(VARIED, wire, mode, judge, every=1 if IS_LONG else 5)

    assert [each for each in tried if each[2]] == []
    assert len(tried) > 12


@pytest.mark.parametrize("mode", ["sync", "async", "exit"] if IS_LONG else ["sync"])
async def test_a_run_continues_unnoticed_when_the_server_refuses_connections_for_a_while(
    postgres: str, mode: Durability
) -> None:
    async with wired(postgres) as wire:
        judge = unnoticed(VARIED, mode)
        tried = await cut_everywhere(VARIED, wire, mode, judge, every=7, refusals=2)

    assert [each for each in tried if each[2]] == []
    assert len(tried) > 4


@pytest.mark.parametrize("mode", ["sync", "async", "exit"] if IS_LONG else ["sync"])
async def test_a_client_that_retries_with_a_saver_without_patience_loses_nothing(
    postgres: str, mode: Durability
) -> None:
    async with wired(postgres) as wire:
        judge = nothing_lost(VARIED, mode)
        tried = await cut_everywhere(VARIED, wire, mode, judge, every=1 if IS_LONG else 5, refusals=3, patience=0)

    assert [each for each in tried if each[2]] == []
    assert len(tried) > 12


@pytest.mark.parametrize("scenario", SHORT_SCENARIOS if IS_LONG else [NESTED], ids=lambda scenario: scenario.name)
async def test_every_scenario_continues_unnoticed_when_its_connections_are_cut(
    postgres: str, scenario: Scenario
) -> None:
    async with wired(postgres) as wire:
        judge = unnoticed(scenario, "sync")
        tried = await cut_everywhere(scenario, wire, "sync", judge, every=7 if IS_LONG else 23)

    assert [each for each in tried if each[2]] == []
    assert len(tried) > 4
