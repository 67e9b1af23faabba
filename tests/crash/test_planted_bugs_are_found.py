"""The crash tests can fail: they find each of these bugs, with the expected violation."""

import asyncio
from pathlib import Path

import pytest

from durable_graph import DurableGraphError
from tests.crash.conftest import Echo
from tests.crash.engine.cancelled_runs import NEVER, Moment, cancelled
from tests.crash.engine.crash_points import one_crash
from tests.crash.engine.planted_bugs import BUGS, Bug
from tests.crash.engine.planted_cancellation_bugs import CANCELLATION_BUGS, CancellationBug
from tests.crash.engine.stores import InMemory


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
async def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch, echo: Echo) -> None:
    found = [broken async for _, broken in one_crash(bug.on, InMemory, bug.mode)]
    assert found
    assert not any(found)

    bug.plant(monkeypatch)
    sentences: list[str] = []
    try:
        async for _, broken in one_crash(bug.on, InMemory, bug.mode):
            sentences.extend(broken)
    except DurableGraphError as error:
        # Some bugs leave a thread that cannot even be read.
        sentences.append(f"{type(error).__name__}: {error}")

    assert any(bug.found_as in sentence for sentence in sentences), sentences
    echo(f"{bug.name}: found, {len(sentences)} violations")


@pytest.mark.parametrize("bug", CANCELLATION_BUGS, ids=lambda bug: bug.name)
def test_a_planted_cancellation_bug_is_found(
    bug: CancellationBug, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, echo: Echo
) -> None:
    bug.plant(monkeypatch)
    events = asyncio.run(cancelled("task.cancel", bug.mode, NEVER, tmp_path / "undisturbed.db")).events

    sentences: list[str] = []
    for event in range(1, events + 1):
        try:
            got = asyncio.run(cancelled("task.cancel", bug.mode, Moment(event, turns=0), tmp_path / f"{event}.db"))
            sentences.extend(got.broken)
        except DurableGraphError as error:
            sentences.append(f"{type(error).__name__}: {error}")

    assert any(bug.found_as in sentence for sentence in sentences), sentences
    echo(f"{bug.name}: found, {len(sentences)} violations")
