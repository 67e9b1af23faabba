"""The stories can end badly: each of these bugs is found by them, and as what it is."""

import pytest

from durable_graph import DurableGraphError
from tests.crash.conftest import Tell
from tests.crash.language.client import WrongAnswerError
from tests.crash.language.exploring import one_crash, undisturbed
from tests.crash.language.planted import LANGUAGE_BUGS, LanguageBug
from tests.crash.places import InMemory


@pytest.mark.parametrize("bug", LANGUAGE_BUGS, ids=lambda bug: bug.name)
async def test_a_bug_of_the_language_is_found(bug: LanguageBug, monkeypatch: pytest.MonkeyPatch, tell: Tell) -> None:
    wanted = await undisturbed(bug.story, InMemory, bug.mode)
    bug.plant(monkeypatch)

    sentences: list[str] = []
    try:
        async for _, broken in one_crash(bug.story, InMemory, bug.mode, wanted=wanted):
            sentences.extend(broken)
            if any(bug.found_as in sentence for sentence in broken):
                break
    except (DurableGraphError, WrongAnswerError) as error:
        # With some bugs a thread cannot even be read, or gone on with.
        sentences.append(f"{type(error).__name__}: {error}")

    assert any(bug.found_as in sentence for sentence in sentences), sentences
    tell(f"{bug.name}: found")
