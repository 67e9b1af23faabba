"""The promises, and the violations of a survival: every violation is a sentence. An empty list means success."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from durable_graph import Durability
from tests.crash.engine.reporting import Report, TaskPosition, label_of
from tests.crash.engine.scenario_survival import Life, Survival
from tests.crash.engine.stored_namespaces import StoredNamespaces
from tests.crash.scenarios.scenario import Scenario


def violations(scenario: Scenario, undisturbed: Survival, survived: Survival, mode: Durability) -> list[str]:
    """The differences from the undisturbed scenario, and the broken promises of each life."""
    oracle = _Oracle(scenario, undisturbed, survived, mode)
    return [*oracle.of_the_end(), *oracle.of_the_rows(), *oracle.of_every_life(), *oracle.of_the_course()]


def losses(scenario: Scenario, undisturbed: Survival, survived: Survival, mode: Durability) -> list[str]:
    """Everything that is lost, doubled or wrong in the end. Additional attempts are no violation."""
    oracle = _Oracle(scenario, undisturbed, survived, mode)
    return [*oracle.of_the_end(), *oracle.of_every_life()]


class _Oracle:
    def __init__(self, scenario: Scenario, undisturbed: Survival, survived: Survival, mode: Durability) -> None:
        self._scenario = scenario
        self._undisturbed = undisturbed
        self._survived = survived
        self._mode = mode
        self._labels = survived.labels
        self._asked = {id_: value for life in survived.lives for id_, value in life.questions.items()}

    # The end

    def of_the_end(self) -> Iterator[str]:
        wanted, got = self._undisturbed.found[-1], self._survived.found[-1]
        if self._survived.progress.number != len(self._scenario.calls):
            yield "the client did not reach its end"
        if got.is_finished != wanted.is_finished:
            yield "the run did not reach its end"
        if got.state != wanted.state:
            yield f"the final state differs: {got.state} instead of {wanted.state}"
        wanted_done = Counter(self._undisturbed.labels.get(position) for position in wanted.done)
        got_done = Counter(self._labels.get(position) for position in got.done)
        # In the mode "exit", other writes decide which supersteps have their own checkpoint.
        is_joined = self._mode == "exit"
        ended = {report.label for life in self._survived.lives for report in life.report if report.moment == "end"}
        for label in wanted_done - got_done:
            if not is_joined or label not in ended:
                yield f"{label!r} is missing"
        for label in got_done - wanted_done:
            if not is_joined or got_done[label] > 1:
                yield f"{label!r} exists twice"
        if len(got.answers) != len(wanted.answers):
            yield f"{len(got.answers)} answers are kept instead of {len(wanted.answers)}"

    def of_the_rows(self) -> Iterator[str]:
        """Compares byte for byte, except where numbers depend on timing."""
        wanted, got = self._undisturbed.found[-1], self._survived.found[-1]
        if self._scenario.has_races:
            # In the mode "exit", supersteps that are stored together leave one checkpoint, and a crash splits them.
            if self._mode != "exit" and _sizes(got) != _sizes(wanted):
                yield f"rows are missing or doubled: {_sizes(got)} instead of {_sizes(wanted)}"
            return
        for ns in sorted({*wanted.rows, *got.rows}):
            if ns not in got.rows or ns not in wanted.rows:
                yield f"namespace {ns!r} is {'doubled' if ns in got.rows else 'missing'}"
                continue
            mine, theirs = got.rows[ns], wanted.rows[ns]
            if mine.checkpoints != theirs.checkpoints:
                yield f"the checkpoints of {ns!r} differ: {_numbers(got, ns)} instead of {_numbers(wanted, ns)}"
            if mine.values != theirs.values:
                yield f"the bytes of the state of {ns!r} differ"
            if mine.records != theirs.records:
                yield f"the records of {ns!r} differ: {mine.records} instead of {theirs.records}"

    # Each process

    def of_every_life(self) -> Iterator[str]:
        for life, (before, after) in zip(self._survived.lives, pairwise(self._survived.found), strict=True):
            yield from self._of_starts(life, before, after)
            yield from self._of_lost_results(before, after)
            yield from self._of_reports(life, after)
            yield from self._of_interrupts(life, before, after)

    def _of_starts(self, life: Life, before: StoredNamespaces, after: StoredNamespaces) -> Iterator[str]:
        over = {role: self._named(spots) for role, spots in (("node", before.nodes_over), ("", before.done))}
        for report in life.report:
            if report.moment == "start" and report.label in over["node" if report.role == "node" else ""]:
                yield f"{report.label!r} ran again although its result was recorded"
        for store, head in life.inputs:
            if len(life.report) > store and after.newest == head:
                yield "code ran before the input was accepted"

    def _of_lost_results(self, before: StoredNamespaces, after: StoredNamespaces) -> Iterator[str]:
        yield from (f"the result of {self._labels.get(position)!r} is lost" for position in before.done - after.done)
        yield from (
            f"the end of {self._labels.get(position)!r} is lost" for position in before.nodes_over - after.nodes_over
        )
        for id_, answer in before.answers.items():
            if after.answers.get(id_) != answer:
                yield f"the answer to {self._asked.get(id_)!r} is lost"

    def _of_reports(self, life: Life, after: StoredNamespaces) -> Iterator[str]:
        spots = {report.task_id: report.position for each in self._survived.lives for report in each.report}
        for task in life.reported_tasks & spots.keys():
            if spots[task] not in after.done:
                yield f"{self._labels.get(spots[task])!r} was reported as finished and was not recorded"
        if life.reported_checkpoints - after.checkpoint_ids:
            yield f"{len(life.reported_checkpoints - after.checkpoint_ids)} checkpoints were reported and not committed"
        done = self._named(after.done)
        for report in life.report:
            if report.moment == "seen" and report.label not in done:
                yield f"the result of {report.label!r} was seen and is not recorded"

    # Interrupts

    def _of_interrupts(self, life: Life, before: StoredNamespaces, after: StoredNamespaces) -> Iterator[str]:
        answered_before, answered_after = self._texts(before), self._texts(after)
        for question in life.questions.values():
            if question in answered_before:
                yield f"{question!r} was asked again although its answer was recorded"
        for question in after.open.values():
            if question in answered_after:
                yield f"{question!r} is open again although its answer was recorded"
        for report in life.report:
            if report.moment == "answered" and report.label not in answered_after:
                yield f"the answer to {report.label!r} was seen and is not recorded"

    def _texts(self, kept: StoredNamespaces) -> set[str]:
        return {self._asked[id_] for id_ in kept.answers if id_ in self._asked}

    # Repetitions

    def of_the_course(self) -> Iterator[str]:
        """Code that ran too often or too early."""
        for life, after in zip(self._survived.lives, self._survived.found[1:], strict=True):
            yield from _of_one_process(life)
            if self._mode == "sync":
                yield from self._of_order(life, after)
        yield from self._of_repetitions()

    def _of_repetitions(self) -> Iterator[str]:
        """A task runs as often as in the undisturbed scenario, and once more for each process that died in it."""
        wanted = Counter(_started(self._undisturbed.lives))
        allowed = wanted.copy()
        for life, after in zip(self._survived.lives, self._survived.found[1:], strict=True):
            if life.has_crashed:
                allowed.update(self._in_flight(life, after))
        for label, times in (Counter(_started(self._survived.lives)) - allowed).items():
            yield f"{label!r} ran {times} times too often"

    def _of_order(self, life: Life, after: StoredNamespaces) -> Iterator[str]:
        """In the mode "sync", a task starts only after the tasks before it are recorded."""
        if life.point is not None and life.point.moment != "after":
            # An attempt after the first is no new start: it was planned and recorded before.
            late = [report.label for report in life.late if report.attempt == 1]
            # With parallel graphs, a recorded result may reach one graph just after the store has failed another.
            if len(late) > (self._scenario.width if self._scenario.has_races else 0):
                yield from (f"{label!r} was started although the store could not be written" for label in late)
        ended = {report.label for report in life.report if report.moment == "end"}
        left = ended - self._named(after.done | after.nodes_over)
        if len(left) > self._scenario.width:
            yield f"{len(left)} tasks had ended and were not recorded: {sorted(left)}"
        for report in life.report:
            if report.moment != "start" or _is_call(report, after):
                continue
            if report.role == "handler" and report.position not in after.nodes_over:
                yield f"{report.label!r} began, and that its node had failed is not recorded"
            if report.role == "node" and not self._is_recorded(report, report.attempt - 1, after):
                yield f"{report.label!r} was tried again, and that it had failed is not recorded"

    def _in_flight(self, life: Life, after: StoredNamespaces) -> Iterator[str]:
        """Attempts that had started and left no record: in the mode "sync", one attempt at a node.

        The attempts at a call are not recorded one by one, and in the other modes the records of a node may be late.
        """
        starts: dict[str, list[Report]] = {}
        for report in life.report:
            if report.moment == "start":
                starts.setdefault(report.label, []).append(report)
        for label, attempts in starts.items():
            last = attempts[-1]
            if self._is_recorded(last, last.attempt, after):
                continue
            if _is_call(last, after) or self._mode != "sync":
                yield from (label for report in attempts if report.attempt > after.failures.get(report.position, 0))
            else:
                yield label

    def _is_recorded(self, report: Report, attempt: int, kept: StoredNamespaces) -> bool:
        """Whether the outcome of that attempt is recorded."""
        is_over = report.position in (kept.nodes_over if report.role == "node" else kept.done)
        return is_over or report.position in kept.waiting or kept.failures.get(report.position, 0) >= attempt

    def _named(self, spots: frozenset[TaskPosition]) -> set[str]:
        return {self._labels[position] for position in spots if position in self._labels}


def _of_one_process(life: Life) -> Iterator[str]:
    ended: set[str] = set()
    for report in life.report:
        if report.moment == "end":
            ended.add(report.label)
        elif report.moment == "start" and report.label in ended:
            yield f"{report.label!r} ran twice in one process"


def _is_call(report: Report, kept: StoredNamespaces) -> bool:
    """Whether the report is of a call, whose result alone is recorded: no checkpoint plans it."""
    rows = kept.rows.get(report.position.ns)
    return report.position.ns != "" and (rows is None or all(row[0] > report.position.born for row in rows.checkpoints))


def _started(lives: Sequence[Life]) -> Iterator[str]:
    return (report.label for life in lives for report in life.report if report.moment == "start")


def _sizes(kept: StoredNamespaces) -> dict[str, tuple[int, int]]:
    """The numbers of checkpoints and records in the namespaces of each name."""
    sizes: dict[str, tuple[int, int]] = {}
    for ns, rows in kept.rows.items():
        name = label_of(ns)
        checkpoints, records = sizes.get(name, (0, 0))
        sizes[name] = checkpoints + len(rows.checkpoints), records + len(rows.records)
    return sizes


def _numbers(kept: StoredNamespaces, ns: str) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in kept.rows[ns].checkpoints]
