"""Every point at which a process can die, tried one by one and in pairs."""

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

from durable_graph import Durability
from durable_graph.testing import CrashPoint
from durable_graph.testing.crash import MOMENTS
from tests.crash.graphs import Shape
from tests.crash.oracle import unrecorded, violations
from tests.crash.places import InMemory, Place
from tests.crash.survival import Survival, survive

Tried = tuple[Sequence[CrashPoint], list[str]]
"""Where processes died, and what was broken by it."""


async def one_crash(shape: Shape, place: Callable[[], Place], mode: Durability) -> AsyncIterator[Tried]:
    """A crash at every moment of every call of the store, and another process that goes on."""
    undisturbed = await _in(place(), shape, [], mode)
    async for points, survived in _with_one_more(shape, place, [], mode):
        broken = violations(undisturbed, survived, mode)
        if place is InMemory and mode == "sync":
            broken.extend(unrecorded(survived))
        yield points, broken


async def two_crashes(shape: Shape, place: Callable[[], Place], mode: Durability) -> AsyncIterator[Tried]:
    """Every crash of the first process with every crash of the second."""
    undisturbed = await _in(place(), shape, [], mode)
    async for first, _ in _with_one_more(shape, place, [], mode):
        async for points, survived in _with_one_more(shape, place, first, mode):
            yield points, violations(undisturbed, survived, mode)


async def _with_one_more(
    shape: Shape, place: Callable[[], Place], earlier: Sequence[CrashPoint], mode: Durability
) -> AsyncIterator[tuple[Sequence[CrashPoint], Survival]]:
    """Each way of dying once more than `earlier`, until a process makes fewer calls than that."""
    # Tried, not counted beforehand: how many calls "async" makes of a file depends on how long each takes.
    for call in count(1):
        died = False
        for moment in MOMENTS:
            points = [*earlier, CrashPoint(call, moment)]
            survived = await _in(place(), shape, points, mode)
            if all(life.crashed for life in survived.lives[: len(points)]):
                died = True
                yield points, survived
        if not died:
            return


async def _in(place: Place, shape: Shape, points: Sequence[CrashPoint], mode: Durability) -> Survival:
    try:
        return await survive(shape, place, points, mode)
    finally:
        await place.close()
