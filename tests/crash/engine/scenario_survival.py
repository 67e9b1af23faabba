"""One scenario, lived through by processes that die, and everything that was seen on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_graph import Durability
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError
from tests.crash.engine.client import Client
from tests.crash.engine.process_log import LogLine
from tests.crash.engine.reporting import Report, TaskPosition, reports_to
from tests.crash.engine.stored_namespaces import StoredNamespaces, look
from tests.crash.engine.stores import CrashStore
from tests.crash.scenarios.scenario import Progress, Scenario


@dataclass(slots=True)
class Life:
    """One process: what its code said, and what it told its client as being durable.

    `late` is what its code began when the store had already failed it. `questions` are those that it told, by id.
    `inputs` are the inputs that it was given: after how many things said, and on which checkpoint.
    """

    point: CrashPoint | None = None
    has_crashed: bool = False
    calls: int = 0
    report: list[Report] = field(default_factory=list)
    late: list[Report] = field(default_factory=list)
    told_tasks: set[str] = field(default_factory=set)
    told_checkpoints: set[tuple[str, str]] = field(default_factory=set)
    questions: dict[str, Any] = field(default_factory=dict)
    inputs: list[tuple[int, str | None]] = field(default_factory=list)

    def note(self, line: LogLine) -> None:
        """What is to be known of it."""
        if line.report is not None:
            self.report.append(line.report)
        self.told_tasks.update(line.tasks)
        self.told_checkpoints.update(line.checkpoints)
        self.questions.update(line.questions)
        if line.is_input:
            self.inputs.append((len(self.report), line.head))


@dataclass(frozen=True, slots=True)
class Survival:
    """`found[i]` is what the store had before life `i`; the last entry is what it had in the end.

    `labels` says what a task is for that is recorded at a spot.
    """

    lives: Sequence[Life]
    found: Sequence[StoredNamespaces]
    progress: Progress

    @property
    def labels(self) -> dict[TaskPosition, str]:
        """What the tasks are for that are recorded at these spots."""
        return {
            report.position: report.label for life in self.lives for report in life.report if report.moment == "start"
        }


async def run_scenario(
    scenario: Scenario, store: CrashStore, points: Sequence[CrashPoint], mode: Durability
) -> Survival:
    """The scenario in one process after another: one for each crash point, and a last one that nothing happens to."""
    lives: list[Life] = []
    found: list[StoredNamespaces] = []
    progress = Progress()
    namespaces: set[str] = set()
    for point in (*points, None):
        saver = CrashingSaver(store.process(), point)
        found.append(await look(scenario.build(saver.inner), namespaces))
        life = await _live(scenario, saver, progress, mode, is_impatient=_is_impatient(points))
        namespaces.update(report.position.ns for report in life.report)
        lives.append(life)
        if not saver.crashed and point is not None:
            break
    found.append(await look(scenario.build(store.process()), namespaces))
    return Survival(lives, found, progress)


def _is_impatient(points: Sequence[CrashPoint]) -> bool:
    """Some clients are and some are not: those of every other crash."""
    return sum(point.call for point in points) % 2 == 1


async def _live(
    scenario: Scenario, saver: CrashingSaver, progress: Progress, mode: Durability, *, is_impatient: bool
) -> Life:
    life = Life(saver.point)

    def listen(report: Report) -> None:
        life.note(LogLine(report))
        if report.moment == "start" and saver.crashed:
            life.late.append(report)

    client = Client(scenario, progress, scenario.build(saver), mode, life.note, is_impatient=is_impatient)
    with reports_to(listen):
        try:
            await client.resume()
        except SimulatedCrashError:
            assert saver.crashed
    life.has_crashed, life.calls = saver.crashed, saver.calls
    return life
