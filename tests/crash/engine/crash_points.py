"""Every point at which a process can die, tried one by one and in pairs."""

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

from durable_graph import Durability
from durable_graph.testing import CrashPoint
from durable_graph.testing.crash import MOMENTS
from tests.crash.engine.oracle import unrecorded, violations
from tests.crash.engine.stores import CrashStore, InMemory
from tests.crash.engine.survival import Survival, survive
from tests.crash.scenarios.graph_shapes import Shape

Tried = tuple[Sequence[CrashPoint], list[str]]
"""The points at which processes died, and the violations."""


async def one_crash(shape: Shape, store: Callable[[], CrashStore], mode: Durability) -> AsyncIterator[Tried]:
    """Crash at every moment of every store call, and resume in another process."""
    undisturbed = await _in(store(), shape, [], mode)
    async for points, survived in _with_one_more(shape, store, [], mode):
        broken = violations(undisturbed, survived, mode)
        if store is InMemory and mode == "sync":
            broken.extend(unrecorded(survived))
        yield points, broken


async def two_crashes(shape: Shape, store: Callable[[], CrashStore], mode: Durability) -> AsyncIterator[Tried]:
    """Every crash of the first process with every crash of the second."""
    undisturbed = await _in(store(), shape, [], mode)
    async for first, _ in _with_one_more(shape, store, [], mode):
        async for points, survived in _with_one_more(shape, store, first, mode):
            yield points, violations(undisturbed, survived, mode)


async def _with_one_more(
    shape: Shape, store: Callable[[], CrashStore], earlier: Sequence[CrashPoint], mode: Durability
) -> AsyncIterator[tuple[Sequence[CrashPoint], Survival]]:
    """Each crash point after `earlier`, until a process makes fewer calls."""
    # Not counted beforehand: the number of calls in the mode "async" depends on how long each call takes.
    for call in count(1):
        died = False
        for moment in MOMENTS:
            points = [*earlier, CrashPoint(call, moment)]
            survived = await _in(store(), shape, points, mode)
            if all(life.crashed for life in survived.lives[: len(points)]):
                died = True
                yield points, survived
        if not died:
            return


async def _in(store: CrashStore, shape: Shape, points: Sequence[CrashPoint], mode: Durability) -> Survival:
    try:
        return await survive(shape, store, points, mode)
    finally:
        await store.close()
