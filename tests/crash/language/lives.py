"""One story, lived through by processes that die, and everything that was seen on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_graph import Durability
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError
from tests.crash.language.client import Client
from tests.crash.language.kept import Kept, look
from tests.crash.language.lines import Line
from tests.crash.language.saying import Said, Spot, heard_by
from tests.crash.language.stories import Progress, Story
from tests.crash.places import Place


@dataclass(slots=True)
class Life:
    """One process: what its code said, and what it told its client as being durable.

    `late` is what its code began when the store had already failed it. `questions` are those that it told, by id.
    `inputs` are the inputs that it was given: after how many things said, and on which checkpoint.
    """

    point: CrashPoint | None = None
    has_crashed: bool = False
    calls: int = 0
    said: list[Said] = field(default_factory=list)
    late: list[Said] = field(default_factory=list)
    told_tasks: set[str] = field(default_factory=set)
    told_checkpoints: set[tuple[str, str]] = field(default_factory=set)
    questions: dict[str, Any] = field(default_factory=dict)
    inputs: list[tuple[int, str | None]] = field(default_factory=list)

    def note(self, line: Line) -> None:
        """What is to be known of it."""
        if line.said is not None:
            self.said.append(line.said)
        self.told_tasks.update(line.tasks)
        self.told_checkpoints.update(line.checkpoints)
        self.questions.update(line.questions)
        if line.is_input:
            self.inputs.append((len(self.said), line.head))


@dataclass(frozen=True, slots=True)
class Survival:
    """`found[i]` is what the store had before life `i`; the last entry is what it had in the end.

    `labels` says what a task is for that is recorded at a spot.
    """

    lives: Sequence[Life]
    found: Sequence[Kept]
    progress: Progress

    @property
    def labels(self) -> dict[Spot, str]:
        """What the tasks are for that are recorded at these spots."""
        return {said.spot: said.label for life in self.lives for said in life.said if said.moment == "start"}


async def live_through(story: Story, place: Place, points: Sequence[CrashPoint], mode: Durability) -> Survival:
    """The story in one process after another: one for each crash point, and a last one that nothing happens to."""
    lives: list[Life] = []
    found: list[Kept] = []
    progress = Progress()
    namespaces: set[str] = set()
    for point in (*points, None):
        saver = CrashingSaver(place.process(), point)
        found.append(await look(story.build(saver.inner), namespaces))
        life = await _live(story, saver, progress, mode, is_impatient=_is_impatient(points))
        namespaces.update(said.spot.ns for said in life.said)
        lives.append(life)
        if not saver.crashed and point is not None:
            break
    found.append(await look(story.build(place.process()), namespaces))
    return Survival(lives, found, progress)


def _is_impatient(points: Sequence[CrashPoint]) -> bool:
    """Some clients are and some are not: those of every other crash."""
    return sum(point.call for point in points) % 2 == 1


async def _live(
    story: Story, saver: CrashingSaver, progress: Progress, mode: Durability, *, is_impatient: bool
) -> Life:
    life = Life(saver.point)

    def listen(said: Said) -> None:
        life.note(Line(said))
        if said.moment == "start" and saver.crashed:
            life.late.append(said)

    client = Client(story, progress, story.build(saver), mode, life.note, is_impatient=is_impatient)
    with heard_by(listen):
        try:
            await client.go_on()
        except SimulatedCrashError:
            assert saver.crashed
    life.has_crashed, life.calls = saver.crashed, saver.calls
    return life
