"""The soak of `make soak`: its rule for growing measures, and a soak of a few seconds."""

from pathlib import Path

import pytest

from tests.runs.engine.observed_worker import Sample
from tests.runs.engine.worker_process import Place
from tests.runs.soak import GROWS, growth, soak, thirds

SECONDS = 100.0


def samples(**growing: float) -> list[Sample]:
    """A sample each second; each given measure grows by its argument each second."""
    start = {"memory": 50_000_000.0, "descriptors": 20.0, "threads": 5.0, "tasks": 10.0, "objects": 50_000.0}
    return [
        Sample(at, **{name: int(value + growing.get(name, 0) * at) for name, value in start.items()})
        for at in range(int(SECONDS) + 1)
    ]


def growing(found: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in found if line.endswith(GROWS)]


def test_the_first_third_begins_after_the_warm_up() -> None:
    times = [float(at) for at in range(101)]
    assert thirds(times, times, SECONDS) == (25.0, 85.0)


def test_a_constant_measure_is_flat() -> None:
    assert growing(growth(samples(), [(float(at), 12) for at in range(101)], SECONDS)) == []


@pytest.mark.parametrize(
    ("name", "each_second"),
    [("memory", 100_000), ("descriptors", 0.1), ("threads", 0.1), ("tasks", 0.5), ("objects", 200)],
)
def test_a_leak_is_found(name: str, each_second: float) -> None:
    assert growing(growth(samples(**{name: each_second}), [], SECONDS)) == [name]


def test_a_leak_of_connections_is_found() -> None:
    assert growing(growth(samples(), [(float(at), 10 + at // 10) for at in range(101)], SECONDS)) == ["connections"]


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_a_few_seconds_of_the_soak_end_every_run_once(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dsn = request.getfixturevalue("postgres") if store == "postgres" else ""
    soaked = await soak(Place(tmp_path, dsn), 3.0, 1)
    assert soaked.broken == []
    assert len(soaked.held) == 5 + (store == "postgres")
