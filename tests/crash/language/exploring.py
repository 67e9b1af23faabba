"""Every point at which a process of a story can die, tried one by one and in pairs."""

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

from durable_graph import Durability
from durable_graph.testing import CrashPoint
from durable_graph.testing.crash import MOMENTS
from tests.crash.language.lives import Survival, live_through
from tests.crash.language.oracle import violations
from tests.crash.language.stories import Story
from tests.crash.places import Place

Tried = tuple[Sequence[CrashPoint], list[str]]
"""Where processes died, and what was broken by it."""


async def undisturbed(story: Story, place: Callable[[], Place], mode: Durability) -> Survival:
    """The story in one process that lives."""
    return await _in(place(), story, [], mode)


async def one_crash(
    story: Story, place: Callable[[], Place], mode: Durability, every: int = 1, wanted: Survival | None = None
) -> AsyncIterator[Tried]:
    """A crash at every moment of every call of the store, and another process that the client goes on with.

    At the `every`-th of these moments only: with 4, at another moment of each call. `wanted` is what to compare with.
    """
    wanted = wanted or await undisturbed(story, place, mode)
    async for points, survived in _with_one_more(story, place, [], mode, every):
        yield points, violations(story, wanted, survived, mode)


async def two_crashes(
    story: Story, place: Callable[[], Place], mode: Durability, every: int = 1
) -> AsyncIterator[Tried]:
    """Every crash of the first process with every one of the second; with every `every`-th of both."""
    wanted = await undisturbed(story, place, mode)
    async for first, _ in _with_one_more(story, place, [], mode, every):
        async for points, survived in _with_one_more(story, place, first, mode, every):
            yield points, violations(story, wanted, survived, mode)


async def _with_one_more(
    story: Story, place: Callable[[], Place], earlier: Sequence[CrashPoint], mode: Durability, every: int
) -> AsyncIterator[tuple[Sequence[CrashPoint], Survival]]:
    """Each way of dying once more than `earlier`, until a process makes fewer calls than that."""
    # Tried, not counted beforehand: how many calls "async" makes of a file depends on how long each takes.
    survivors = 0
    for number in count(0, every):
        call, moment = divmod(number, len(MOMENTS))
        points = [*earlier, CrashPoint(call + 1, MOMENTS[moment])]
        survived = await _in(place(), story, points, mode)
        if all(life.has_crashed for life in survived.lives[: len(points)]):
            survivors = 0
            yield points, survived
        elif (survivors := survivors + 1) == len(MOMENTS):
            return


async def _in(place: Place, story: Story, points: Sequence[CrashPoint], mode: Durability) -> Survival:
    try:
        return await live_through(story, place, points, mode)
    finally:
        await place.close()
