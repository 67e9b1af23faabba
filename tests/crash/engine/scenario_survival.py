"""One scenario, run by processes that die, and everything that was observed on the way."""

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
    """One process: the reports of its code, and the durable events that it emitted.

    `late` are the starts of code after the store had failed. `questions` are the values of emitted interrupts, by id.
    `inputs` are the inputs of the client: the number of reports before each, and the checkpoint.
    """

    point: CrashPoint | None = None
    has_crashed: bool = False
    calls: int = 0
    report: list[Report] = field(default_factory=list)
    late: list[Report] = field(default_factory=list)
    reported_tasks: set[str] = field(default_factory=set)
    reported_checkpoints: set[tuple[str, str]] = field(default_factory=set)
    questions: dict[str, Any] = field(default_factory=dict)
    inputs: list[tuple[int, str | None]] = field(default_factory=list)

    def note(self, line: LogLine) -> None:
        """Add a line of the log."""
        if line.report is not None:
            self.report.append(line.report)
        self.reported_tasks.update(line.tasks)
        self.reported_checkpoints.update(line.checkpoints)
        self.questions.update(line.questions)
        if line.is_input:
            self.inputs.append((len(self.report), line.head))


@dataclass(frozen=True, slots=True)
class Survival:
    """`found[i]` is the content of the store before life `i`; the last entry is its final content.

    `labels` has the label of the task that is recorded at a position.
    """

    lives: Sequence[Life]
    found: Sequence[StoredNamespaces]
    progress: Progress

    @property
    def labels(self) -> dict[TaskPosition, str]:
        """The labels of the tasks that are recorded at these positions."""
        return {
            report.position: report.label for life in self.lives for report in life.report if report.moment == "start"
        }


async def run_scenario(
    scenario: Scenario, store: CrashStore, points: Sequence[CrashPoint], mode: Durability
) -> Survival:
    """Run the scenario in processes in sequence: one for each crash point, and a last one that does not crash."""
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
    """The clients of every other crash are impatient."""
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
