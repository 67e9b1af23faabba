"""A store that fails once and then works, and a client that tries again at the same process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import TypeVar

from durable_graph import Durability, StoreUnavailableError
from durable_graph.testing import CrashingSaver, CrashPoint
from tests.crash.language.client import Client
from tests.crash.language.exploring import undisturbed
from tests.crash.language.kept import Kept, look
from tests.crash.language.lines import Line
from tests.crash.language.lives import Life, Survival
from tests.crash.language.oracle import losses
from tests.crash.language.saying import Said, heard_by
from tests.crash.language.stories import Progress, Story
from tests.crash.places import Place

T = TypeVar("T")


class FailingSaver(CrashingSaver):
    """Away at one call, which does not arrive, and there again at the next."""

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls += 1
        self.names.append(name)
        if self.point is not None and self.point.call == self.calls:
            self.crashed = True
            why = f"call {self.calls}, {name}"
            raise StoreUnavailableError("the store", why)
        return await call()


async def one_outage(
    story: Story, place: Callable[[], Place], mode: Durability, every: int = 1
) -> AsyncIterator[tuple[int, list[str]]]:
    """An outage at every call of the store, or at each `every`-th, and what is lost by it."""
    wanted = await undisturbed(story, place, mode)
    for call in count(1, every):
        found = place()
        saver = FailingSaver(found.process(), CrashPoint(call, "before"))
        try:
            survived = await _carried_through(story, saver, mode)
        finally:
            await found.close()
        if not saver.crashed:
            return
        yield call, losses(story, wanted, survived, mode)


async def _carried_through(story: Story, saver: FailingSaver, mode: Durability) -> Survival:
    """What a client came to that tried again. Each try counts as a life."""
    graph, progress = story.build(saver), Progress()
    lives: list[Life] = []
    found: list[Kept] = [await look(story.build(saver.inner), ())]
    namespaces: set[str] = set()
    is_over = False
    while not is_over:
        life = Life()
        lives.append(life)

        def listen(said: Said, life: Life = life) -> None:
            life.note(Line(said))

        with heard_by(listen):
            try:
                await Client(story, progress, graph, mode, life.note).go_on()
                is_over = True
            except StoreUnavailableError:
                life.has_crashed = True
        namespaces.update(said.spot.ns for said in life.said)
        found.append(await look(story.build(saver.inner), namespaces))
    return Survival(lives, found, progress)
