"""A store that is away for a moment costs a call. It is no failure of a node, and nothing is lost by it."""

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, Tell
from tests.crash.language.all_stories import SHORT_STORIES, STORIES
from tests.crash.language.outages import one_outage
from tests.crash.language.stories import Story
from tests.crash.places import InMemory


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
@pytest.mark.parametrize("story", STORIES if IS_LONG else SHORT_STORIES, ids=lambda story: story.name)
async def test_a_client_that_tries_again_comes_to_the_same_end(story: Story, mode: Durability, tell: Tell) -> None:
    tried = [each async for each in one_outage(story, InMemory, mode)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 5
    tell(f"{story.name}, {mode}: {len(tried)} outages, 0 violations")
