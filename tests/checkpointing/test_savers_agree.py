"""Every saver gives the results of MemorySaver, for any calls."""

import itertools
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing import rules
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.checkpointing import planted
from tests.checkpointing.agreeing import Disagreement, Walk
from tests.postgres.server import VERSIONS, started
from tests.savers import schema_of_its_own

pytestmark = pytest.mark.slow

WALKS = 60
CALLS = 60


@pytest.fixture(autouse=True)
def _fixed_incarnations_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "drawn_incarnation", lambda: 77)
    monkeypatch.setattr(time, "time_ns", lambda: 50_000)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Checkpointer]:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        yield saver


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a server of each version."""
    with started(version=request.param) as server:
        yield server.url


async def _walk_through(left: Checkpointer, right: Checkpointer, walks: int = WALKS) -> None:
    for seed in range(walks):
        try:
            await Walk(left, right, Random(seed), f"{seed:03}").go(CALLS)
        except Disagreement as error:
            error.add_note(f"seed {seed}")
            raise


async def test_savers_agree_on_random_calls(sqlite: Checkpointer) -> None:
    await _walk_through(MemorySaver(), sqlite)


@pytest.fixture
def walks(pytestconfig: pytest.Config) -> int:
    """The number of walks on PostgreSQL, where a walk takes ten times as long: a third, and all with --forms=all."""
    return WALKS if pytestconfig.getoption("--forms") == "all" else WALKS // 3


async def test_postgres_agrees_on_random_calls(version: str, walks: int) -> None:
    async with PostgresSaver(version) as saver:
        await _walk_through(MemorySaver(), saver, walks)


class Alternately:
    """Several savers on one store that take turns: each call goes to one that has not seen the calls of the others."""

    def __init__(self, *savers: Checkpointer) -> None:
        self._turns = itertools.cycle(savers)

    def __getattr__(self, name: str) -> Any:
        return getattr(next(self._turns), name)


async def test_two_savers_on_one_database_agree_with_one_on_random_calls(postgres: str, walks: int) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        PostgresSaver(postgres, schema=schema) as first,
        PostgresSaver(postgres, schema=schema) as second,
    ):
        both: Any = Alternately(first, second)
        await _walk_through(MemorySaver(), both, walks)


@pytest.mark.parametrize(
    "kind",
    [
        planted.KeepsTheRootsRecordsOnly,
        planted.AppliesRefusedBatches,
        planted.ForgetsTheStatus,
        planted.ForkOverwrites,
        planted.CopyDropsNamespaces,
        planted.DeletesTheRootOnly,
        planted.ReversesRecords,
        planted.IgnoresAbsence,
    ],
)
async def test_random_calls_detect_a_saver_with_a_bug(sqlite: Checkpointer, kind: type[MemorySaver]) -> None:
    with pytest.raises(Disagreement):
        await _walk_through(kind(), sqlite)
