"""Whatever a process does in LangGraph's language when it dies at a call of the store, another goes on from there.

The client answers, edits and steers. Nothing that it was told is undone, and nothing that it said is asked again.
"""

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, Tell
from tests.crash.language.all_stories import SHORT_STORIES, STORIES
from tests.crash.language.everything import EVERYTHING
from tests.crash.language.exploring import one_crash, two_crashes
from tests.crash.language.stories import Story
from tests.crash.places import InMemory, OnDisk, Place, on_server

MODES: tuple[Durability, ...] = ("sync", "async", "exit")

# Of how many moments one is tried, where not all are. None of the numbers has the factor 3: a call has three moments,
# and each of them has its turn.
MANY, SOME, FEW = (1, 1, 1) if IS_LONG else (4, 11, 41)
TAKING_TIME = [
    (story, mode) for place, story in enumerate(STORIES) for mode in (MODES if IS_LONG else [MODES[place % len(MODES)]])
]
OF_PAIRS = 4 if IS_LONG else 19


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("story", SHORT_STORIES, ids=lambda story: story.name)
async def test_a_client_comes_to_the_same_end_whenever_a_process_dies(
    story: Story, mode: Durability, tell: Tell
) -> None:
    tried = [each async for each in one_crash(story, InMemory, mode, 1 if mode == "sync" else MANY)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 5
    tell(f"{story.name}, {mode}, memory: {len(tried)} crashes, 0 violations")


@pytest.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Place]]:
    """Makes stores that are empty, in which every call takes a while."""
    numbers = count()
    if request.param == "sqlite":
        yield lambda: OnDisk(tmp_path / f"{next(numbers)}.db")
    else:
        async with on_server(request.getfixturevalue("postgres")) as made:
            yield made


@pytest.mark.parametrize(("story", "mode"), TAKING_TIME, ids=[f"{story.name}-{mode}" for story, mode in TAKING_TIME])
async def test_it_does_so_where_calls_take_time(
    story: Story, mode: Durability, place: Callable[[], Place], tell: Tell
) -> None:
    tried = [each async for each in one_crash(story, place, mode, FEW if story is EVERYTHING else SOME)]

    assert [each for each in tried if each[1]] == []
    assert tried
    tell(f"{story.name}, {mode}, on a disk or a server: {len(tried)} crashes, 0 violations")


@pytest.mark.parametrize("mode", MODES)
async def test_it_does_so_with_all_of_the_language_in_one_graph(mode: Durability, tell: Tell) -> None:
    tried = [each async for each in one_crash(EVERYTHING, InMemory, mode, SOME)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 10
    tell(f"{EVERYTHING.name}, {mode}, memory: {len(tried)} crashes, 0 violations")


@pytest.mark.parametrize("mode", MODES if IS_LONG else ["sync"])
@pytest.mark.parametrize("story", SHORT_STORIES, ids=lambda story: story.name)
async def test_a_process_that_dies_while_it_goes_on_is_survived_as_well(
    story: Story, mode: Durability, tell: Tell
) -> None:
    tried = [each async for each in two_crashes(story, InMemory, mode, OF_PAIRS)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 3
    tell(f"{story.name}, {mode}: {len(tried)} pairs of crashes, 0 violations")
