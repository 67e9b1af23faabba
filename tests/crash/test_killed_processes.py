"""Real kill -9: at every store call, inside transactions, and at random times."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from durable_graph import Durability, DurableGraphError
from durable_graph.testing.crash import MOMENTS
from tests.crash.conftest import IS_LONG, Echo
from tests.crash.engine.killed_process import Kill
from tests.crash.engine.killing import ForkServer, Killed, ProcessFailedError, fork_server, kill_and_resume, undisturbed
from tests.crash.engine.oracle import violations
from tests.postgres.server import started

RANDOM_KILLS = 200 if IS_LONG else 12

# The store calls: one load, the input, and for each superstep its records and its commit. Records that wait together
# share a call.
INPUT, FIRST_RECORD, SECOND_RECORD, FIRST_COMMIT = 2, 3, 4, 5
EVERY_CALL = range(1, 9)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[ForkServer]:
    """A fork server whose processes use files, and one whose processes use PostgreSQL."""
    if request.param == "sqlite":
        with fork_server() as running:
            yield running
    else:
        with started() as database, fork_server(database.url) as running:
            yield running


@pytest.fixture(scope="module")
def server_with_files() -> Iterator[ForkServer]:
    with fork_server() as running:
        yield running


@dataclass(slots=True)
class Tally:
    """The cost of kills. `in_flight` counts the tasks that ran again because they had no record."""

    kills: int = 0
    recorded: int = 0
    in_flight: int = 0
    lost: int = 0
    wrong: int = 0
    ran_again: int = 0

    def add(self, killed: Killed, wanted: Killed, mode: Durability) -> list[str]:
        """Count one more kill, and return its violations."""
        first, last = killed.survival.lives[0], killed.survival.lives[-1]
        at_the_kill, end = killed.at_the_kill, killed.survival.found[-1]
        again = set(first.started) & set(last.started) if last is not first else set()
        self.kills += 1
        self.recorded += len(at_the_kill.recorded)
        self.ran_again += len(again & at_the_kill.recorded)
        self.in_flight += len(again - at_the_kill.recorded)
        self.lost += len(at_the_kill.recorded - end.recorded)
        self.wrong += (end.state, end.values) != (wanted.survival.found[-1].state, wanted.survival.found[-1].values)
        return violations(wanted.survival, killed.survival, mode)


@pytest.mark.parametrize("mode", ["sync", "async", "exit"] if IS_LONG else ["sync"])
def test_a_kill_at_any_call_of_the_store_loses_nothing(
    server: ForkServer, mode: Durability, tmp_path: Path, echo: Echo
) -> None:
    wanted = undisturbed(server, tmp_path / "undisturbed", mode)
    tally = Tally()

    for call in count(1):
        before = tally.kills
        for moment in MOMENTS:
            killed = kill_and_resume(server, tmp_path / f"{call} {moment}", mode, kill=Kill(call, moment))
            if killed.was_killed:
                assert tally.add(killed, wanted, mode) == [], (call, moment)
        if tally.kills == before:
            break

    # The number of records that share a call depends on timing; the first record of a superstep has its own call.
    assert mode != "sync" or tally.kills >= len(MOMENTS) * FIRST_COMMIT
    echo(f"{mode}, at every call: {tally}")


def test_a_kill_at_any_statement_of_a_transaction_rolls_it_back(
    server_with_files: ForkServer, tmp_path: Path, echo: Echo
) -> None:
    wanted = undisturbed(server_with_files, tmp_path / "undisturbed", "sync")
    tally = Tally()

    for call in EVERY_CALL if IS_LONG else (INPUT, FIRST_RECORD, SECOND_RECORD, FIRST_COMMIT):
        for statement in count(1):
            folder = tmp_path / f"{call} {statement}"
            killed = kill_and_resume(server_with_files, folder, "sync", kill=Kill(call, "inside", statement))
            if not killed.was_killed:
                break
            assert tally.add(killed, wanted, "sync") == [], (call, statement)

    assert tally.kills > 20
    echo(f"at every statement: {tally}")


def test_a_kill_between_statements_without_a_transaction_is_detected(
    server_with_files: ForkServer, tmp_path: Path
) -> None:
    wanted = undisturbed(server_with_files, tmp_path / "undisturbed", "sync")

    noticed: list[object] = []
    for statement in range(1, 6):
        try:
            kill = Kill(FIRST_COMMIT, "inside", statement)
            killed = kill_and_resume(server_with_files, tmp_path / f"{statement}", "sync", kill=kill, torn=True)
            noticed.extend(violations(wanted.survival, killed.survival, "sync"))
        except (DurableGraphError, ProcessFailedError) as error:
            noticed.append(error)

    assert noticed


def test_a_kill_at_any_time_loses_nothing(server: ForkServer, tmp_path: Path, echo: Echo) -> None:
    """Only kills inside a superstep are counted."""
    wanted = undisturbed(server, tmp_path / "undisturbed", "sync")
    chance = random.Random(20_26)
    tally = Tally()
    outside = 0

    for number in count():
        after = chance.uniform(0, wanted.seconds)
        killed = kill_and_resume(server, tmp_path / f"{number}", "sync", kill_after=after)
        if killed.was_killed and killed.was_inside_a_superstep:
            assert tally.add(killed, wanted, "sync") == [], after
        else:
            outside += 1
            assert violations(wanted.survival, killed.survival, "sync") == [], after
        if tally.kills == RANDOM_KILLS:
            break

    assert tally.recorded > 0
    assert (tally.lost, tally.wrong, tally.ran_again) == (0, 0, 0)
    echo(f"at random times: {tally}; {outside} more fell between two supersteps or after the end, and are not counted")
