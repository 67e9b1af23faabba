"""Real kill -9 while a client uses all of the language: at store calls and at random times."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from durable_graph import Durability
from durable_graph.testing.crash import MOMENTS
from tests.crash.conftest import IS_LONG, Echo
from tests.crash.engine.killed_process import Kill
from tests.crash.engine.killing import ForkServer, fork_server
from tests.crash.engine.scenario_killing import NO_KILL, KillPlan, Served, serve
from tests.crash.engine.scenario_oracle import violations
from tests.crash.scenarios.everything import EVERYTHING
from tests.postgres.server import started

MODES: tuple[Durability, ...] = ("sync", "async", "exit")

# One of this many moments is tried; the number has no factor in common with the three moments of a call.
EVERY = 1 if IS_LONG else 47
TIMES = 60 if IS_LONG else 2


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[ForkServer]:
    """A fork server whose processes use files, and one whose processes use PostgreSQL."""
    if request.param == "sqlite":
        with fork_server() as running:
            yield running
    else:
        with started() as database, fork_server(database.url) as running:
            yield running


@dataclass(slots=True)
class Tally:
    """The cost of kills."""

    scenarios: int = 0
    kills: int = 0
    recorded: int = 0
    began_again: int = 0

    def add(self, served: Served, wanted: Served, mode: Durability) -> list[str]:
        """Count one more scenario, and return its violations."""
        survival = served.survival
        self.scenarios += 1
        self.kills += served.kills
        self.recorded += sum(len(kept.done) for kept in survival.found[1:-1])
        starts = [
            sum(report.moment == "start" for life in each.survival.lives for report in life.report)
            for each in (served, wanted)
        ]
        self.began_again += starts[0] - starts[1]
        return violations(EVERYTHING, wanted.survival, survival, mode)


def only_the_first(kill_plan: KillPlan) -> Callable[[int], KillPlan]:
    return lambda life: NO_KILL if life else kill_plan


@pytest.mark.parametrize("mode", MODES if IS_LONG else ["sync"])
def test_a_kill_at_a_call_of_the_store_loses_nothing(
    server: ForkServer, mode: Durability, tmp_path: Path, echo: Echo
) -> None:
    wanted = serve(server, tmp_path / "undisturbed", mode, lambda _: NO_KILL)
    tally = Tally()
    survivors = 0

    # The number of calls depends on timing; no process is killed "inside" a call that only reads.
    for number in count(0, EVERY):
        call, moment = divmod(number, len(MOMENTS))
        kill_plan = KillPlan(Kill(call + 1, MOMENTS[moment]))
        is_impatient = number % 2 == 1
        served = serve(server, tmp_path / f"{number}", mode, only_the_first(kill_plan), is_impatient=is_impatient)
        assert tally.add(served, wanted, mode) == [], (call + 1, MOMENTS[moment])
        survivors = 0 if served.kills else survivors + 1
        if survivors == len(MOMENTS):
            break

    assert tally.kills > 3
    echo(f"{mode}, at calls of the store: {tally}, 0 violations")


@pytest.mark.parametrize("mode", MODES)
def test_a_client_whose_processes_are_killed_repeatedly_reaches_the_same_end(
    server: ForkServer, mode: Durability, tmp_path: Path, echo: Echo
) -> None:
    wanted = serve(server, tmp_path / "undisturbed", mode, lambda _: NO_KILL)
    chance = random.Random(f"{mode} 20 26")
    tally = Tally()

    for number in range(TIMES):
        served = serve(
            server,
            tmp_path / f"{number}",
            mode,
            lambda life: KillPlan(after=chance.uniform(0.05, 0.4) * wanted.seconds) if life < 8 else NO_KILL,
            is_impatient=number % 2 == 1,
        )
        assert tally.add(served, wanted, mode) == [], number

    assert tally.kills >= TIMES
    echo(f"{mode}, again and again: {tally}, 0 violations")
