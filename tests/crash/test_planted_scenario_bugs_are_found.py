"""The scenarios can fail: they find each of these bugs, with the expected violation."""

import pytest

from durable_graph import DurableGraphError
from tests.crash.conftest import Echo
from tests.crash.engine.client import WrongAnswerError
from tests.crash.engine.planted_scenario_bugs import SCENARIO_BUGS, ScenarioBug
from tests.crash.engine.scenario_crash_points import one_crash, undisturbed
from tests.crash.engine.stores import InMemory


@pytest.mark.parametrize("bug", SCENARIO_BUGS, ids=lambda bug: bug.name)
async def test_a_planted_scenario_bug_is_found(bug: ScenarioBug, monkeypatch: pytest.MonkeyPatch, echo: Echo) -> None:
    wanted = await undisturbed(bug.scenario, InMemory, bug.mode)
    bug.plant(monkeypatch)

    sentences: list[str] = []
    try:
        async for _, broken in one_crash(bug.scenario, InMemory, bug.mode, wanted=wanted):
            sentences.extend(broken)
            if any(bug.found_as in sentence for sentence in broken):
                break
    except (DurableGraphError, WrongAnswerError) as error:
        # With some bugs a thread cannot even be read or resumed.
        sentences.append(f"{type(error).__name__}: {error}")

    assert any(bug.found_as in sentence for sentence in sentences), sentences
    echo(f"{bug.name}: found")
