"""How long to look. `make crash` sets DURABLE_GRAPH_CRASH=long: more of the same, and it says how much."""

import os
from collections.abc import Callable

import pytest

from tests.crash.engine.repeatable_ids import draw_the_same

Echo = Callable[[str], None]

IS_LONG = os.environ.get("DURABLE_GRAPH_CRASH") == "long"


@pytest.fixture(autouse=True)
def _runs_are_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_the_same(monkeypatch)


@pytest.fixture
def echo(capsys: pytest.CaptureFixture[str]) -> Echo:
    """Prints what was counted: on the terminal in a long run, and otherwise with the test's own output."""

    def report(line: str) -> None:
        if not IS_LONG:
            print(line)
            return
        with capsys.disabled():
            print(f"\n  {line}", end="")

    return report
