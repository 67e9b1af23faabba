"""A connection that is cut, before, in or after any round trip, costs a moment. Nothing is lost or done twice."""

from collections.abc import AsyncIterator, Callable
from itertools import count, product

import pytest

from durable_graph._runtime.run import Durability
from tests.crash.conftest import IS_LONG
from tests.crash.language.all_stories import SHORT_STORIES
from tests.crash.language.oracle import losses, violations
from tests.crash.language.stories import Story
from tests.postgres.cutting import VARIED, Lived, Wire, lived_through, wired
from tests.postgres.proxy import MOMENTS, Cut
from tests.postgres.trips import named

# In a short run at another moment of every round trip.
EVERY = 1 if IS_LONG else 7

Found = tuple[Cut, str, list[str]]
"""Where a connection was cut, in which statement, and what came of it that must not."""


async def cut_everywhere(
    story: Story, wire: Wire, mode: Durability, judge: Callable[[Lived, Lived], list[str]], *, refusals: int = 0
) -> AsyncIterator[Found]:
    """The story, cut at every moment of every round trip, or at each `EVERY`-th."""
    undisturbed = await lived_through(story, wire, mode)
    assert judge(undisturbed, undisturbed) == []
    uncut = 0
    for number in count(0, EVERY):
        trip, moment = divmod(number, len(MOMENTS))
        cut = Cut(trip + 1, MOMENTS[moment], refusals)
        lived = await lived_through(story, wire, mode, cut)
        if lived.was_cut:
            uncut = 0
            yield cut, named(lived.trips[trip : trip + 1], wire.schema)[0], judge(undisturbed, lived)
        elif (uncut := uncut + 1) == 2:
            return


def as_if_nothing_had_been(story: Story, mode: Durability) -> Callable[[Lived, Lived], list[str]]:
    """The client is told of nothing, and what is stored is the same to the byte."""

    def judge(undisturbed: Lived, lived: Lived) -> list[str]:
        told = [f"the client was told {len(lived.survival.lives) - 1} errors"] if len(lived.survival.lives) > 1 else []
        return [*told, *lived.broken, *violations(story, undisturbed.survival, lived.survival, mode)]

    return judge


def nothing_lost(story: Story, mode: Durability) -> Callable[[Lived, Lived], list[str]]:
    """Whatever the client was told: it came to the same end, and nothing that was recorded ran again."""

    def judge(undisturbed: Lived, lived: Lived) -> list[str]:
        return [*lived.broken, *losses(story, undisturbed.survival, lived.survival, mode)]

    return judge


@pytest.mark.parametrize("mode", ["sync", "async", "exit"] if IS_LONG else ["sync"])
async def test_a_run_goes_on_by_itself_as_if_nothing_had_happened(postgres: str, mode: Durability) -> None:
    async with wired(postgres) as wire:
        judge = as_if_nothing_had_been(VARIED, mode)
        tried = [each async for each in cut_everywhere(VARIED, wire, mode, judge)]
        await wire.until_gone()

    assert [each for each in tried if each[2]] == []
    assert len(tried) > 30 * len(MOMENTS) // EVERY
