"""The length of the crash tests. `make crash` sets DURABLE_GRAPH_CRASH=long: more cases, and printed counts."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from durable_graph import Durability
from tests.crash.engine.repeatable_ids import make_ids_repeatable
from tests.crash.engine.stores import CrashStore, InMemory, OnDisk, on_server
from tests.savers import SAVERS

Echo = Callable[[str], None]

T = TypeVar("T")

MODES: tuple[Durability, ...] = ("sync", "async", "exit")

IS_LONG = os.environ.get("DURABLE_GRAPH_CRASH") == "long"


def in_modes(values: Sequence[T]) -> list[tuple[T, Durability]]:
    """Each value in one durability mode, the modes in turn; in a long run each value in every mode."""
    return [
        (value, mode)
        for number, value in enumerate(values)
        for mode in (MODES if IS_LONG else [MODES[number % len(MODES)]])
    ]


def name_of(value: object) -> str:
    """The id of a parameter."""
    return str(getattr(value, "name", getattr(value, "__name__", value)))


@pytest.fixture(autouse=True)
def _runs_are_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    make_ids_repeatable(monkeypatch)


@pytest.fixture(params=SAVERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], CrashStore]]:
    """A function that makes empty stores."""
    numbers = count()
    match request.param:
        case "memory":
            yield InMemory
        case "sqlite":
            yield lambda: OnDisk(tmp_path / f"{next(numbers)}.db")
        case _:
            async with on_server(request.getfixturevalue("postgres")) as made:
                yield made


@pytest.fixture
def echo(capsys: pytest.CaptureFixture[str]) -> Echo:
    """Prints counts: on the terminal in a long run, and otherwise with the test's own output."""

    def report(line: str) -> None:
        if not IS_LONG:
            print(line)
            return
        with capsys.disabled():
            print(f"\n  {line}", end="")

    return report
