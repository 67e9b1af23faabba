"""Bugs to plant that a runtime of this language could have, and the sentence that finds each of them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from durable_graph import Durability
from durable_graph._engine import admit as admit_module
from durable_graph._engine import apply as apply_module
from durable_graph._engine import build_commit
from durable_graph._engine.admit import carry, replan
from durable_graph._engine.build_commit import records_of
from durable_graph._engine.header import encode_header
from durable_graph._engine.task import Failed, Handling
from durable_graph._runtime.commit import writer
from durable_graph._runtime.commit.requests import StatusChange
from durable_graph._runtime.commit.writer import Writer
from durable_graph._runtime.entry import command, start, subgraph
from durable_graph._runtime.events.sink import Publication
from durable_graph._runtime.superstep.run_tasks import Superstep
from durable_graph._runtime.task import outcomes
from durable_graph._runtime.task.claims import Claims
from durable_graph._runtime.task.run_context import TaskOutput
from durable_graph._runtime.task.task_calls import TaskJournal
from durable_graph._runtime.threads.update_state import edit_state
from durable_graph.app import threads
from durable_graph.errors import InterruptAnsweredError, UnknownInterruptError
from tests.crash.scenarios.graphs import DEFERRED, EDITS, FAILURES, QUESTIONS
from tests.crash.scenarios.nested_graphs import MEMORY, NESTED, PARALLEL
from tests.crash.scenarios.scenario import Scenario
from tests.crash.scenarios.workflows import PREVIOUS, WORKFLOW

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class ScenarioBug:
    """A bug, the scenario and the mode that show it, and a part of the oracle's sentence."""

    name: str
    plant: Plant
    scenario: Scenario
    mode: Durability
    found_as: str


# Answers and interrupts


def answers_are_not_recorded(patch: pytest.MonkeyPatch) -> None:
    right = Writer.save_unmoved

    async def save_unmoved(self: Writer, own: Any, outcomes: Any, status: Any, *given: Any, **named: Any) -> Any:
        if status == StatusChange("interrupted"):
            return await right(self, own, outcomes, status, *given, **named)
        return tuple(outcomes)

    patch.setattr(Writer, "save_unmoved", save_unmoved)


def second_answers_are_reported_as_unknown(patch: pytest.MonkeyPatch) -> None:
    right = command._record

    async def record(run: Any, store: Any, state: Any, recorded: Any, command: Any) -> Any:
        try:
            return await right(run, store, state, recorded, command)
        except InterruptAnsweredError as error:
            raise UnknownInterruptError(error.thread_id, error.id, open_ids=()) from error

    patch.setattr(command, "_record", record)


def the_next_interrupt_loses_earlier_answers(patch: pytest.MonkeyPatch) -> None:
    right = outcomes._interrupted

    def interrupted(*given: Any) -> Any:
        attempted = right(*given)
        return TaskOutput(msgspec.structs.replace(attempted.outcome, answers=()), attempted.error)

    patch.setattr(outcomes, "_interrupted", interrupted)


def a_command_plans_everything_again(patch: pytest.MonkeyPatch) -> None:
    def carry_again(topology: Any, state: Any, writes: Any, routes: Any, no: int) -> Any:
        return carry(topology, replan(state, no - 1), writes, routes, no)

    patch.setattr(command, "carry", carry_again)


# Calls


def results_are_seen_before_they_are_recorded(patch: pytest.MonkeyPatch) -> None:
    right = TaskJournal._record
    sent: set[asyncio.Task[Any]] = set()

    async def record(self: TaskJournal, *given: Any) -> None:
        sending = asyncio.create_task(right(self, *given))
        sent.add(sending)
        sending.add_done_callback(lambda task: task.exception())

    patch.setattr(TaskJournal, "_record", record)


def recorded_calls_are_not_loaded(patch: pytest.MonkeyPatch) -> None:
    async def load(self: Claims) -> None:
        return None

    patch.setattr(Claims, "_load", load)


# Nested graphs


def nested_records_go_to_the_parent_graph(patch: pytest.MonkeyPatch) -> None:
    def elsewhere(stored: Any, outcomes: Any, commit_id: bytes) -> Any:
        outer = stored.ns.rpartition("|")[0]
        return records_of(msgspec.structs.replace(stored, ns=outer), outcomes, commit_id)

    patch.setattr(writer, "records_of", elsewhere)


def finished_graphs_run_again(patch: pytest.MonkeyPatch) -> None:
    right = subgraph._start_from

    async def start_from(run: Any, store: Any, found: Any, called: Any) -> Any:
        if found is None or found.at.state.plan:
            return await right(run, store, found, called)
        store.own = found.own
        return await subgraph._accept(run, store, found.at.state, {}, called)

    patch.setattr(subgraph, "_start_from", start_from)


def memory_has_no_caller(patch: pytest.MonkeyPatch) -> None:
    def without_caller(header: Any) -> bytes:
        return encode_header(msgspec.structs.replace(header, caller=""))

    patch.setattr(build_commit, "encode_header", without_caller)


# Deferred nodes, failures, edits, inputs


def waiting_nodes_are_not_stored(patch: pytest.MonkeyPatch) -> None:
    right = apply_module.schedule

    def schedule(*given: Any) -> Any:
        values, plan, _ = right(*given)
        return values, plan, {}

    for module in (apply_module, admit_module):
        patch.setattr(module, "schedule", schedule)


def _unsaved(patch: pytest.MonkeyPatch, kind: type) -> None:
    right = Superstep._save

    async def save(self: Superstep, outcomes: Sequence[Any], status: Any = None) -> Any:
        if status is None and all(isinstance(outcome, kind) for outcome in outcomes):
            return tuple(outcomes)
        return await right(self, outcomes, status)

    patch.setattr(Superstep, "_save", save)


def handlers_begin_unrecorded(patch: pytest.MonkeyPatch) -> None:
    _unsaved(patch, Handling)


def attempts_are_not_recorded(patch: pytest.MonkeyPatch) -> None:
    _unsaved(patch, Failed)


def edits_expect_no_checkpoint(patch: pytest.MonkeyPatch) -> None:
    async def edit_the_newest(
        topology: Any, saver: Any, store: Any, supersteps: Any, run: Any, _: Any, key: Any
    ) -> Any:
        return await edit_state(topology, saver, store, supersteps, run, None, key)

    patch.setattr(threads, "edit_state", edit_the_newest)


def nodes_run_before_the_input_is_accepted(patch: pytest.MonkeyPatch) -> None:
    async def accept(run: Any, store: Any, plan: Any, step: Any) -> Any:
        return await store.commit(plan, step, Publication(run.shared.sink))

    patch.setattr(start, "accept", accept)


SCENARIO_BUGS = (
    ScenarioBug("answers are not recorded", answers_are_not_recorded, QUESTIONS, "sync", "seen and is not recorded"),
    ScenarioBug(
        "a second answer is reported as unknown",
        second_answers_are_reported_as_unknown,
        QUESTIONS,
        "async",
        "UnknownInterruptError",
    ),
    ScenarioBug("earlier answers are lost", the_next_interrupt_loses_earlier_answers, QUESTIONS, "sync", "is lost"),
    ScenarioBug("a command plans everything again", a_command_plans_everything_again, QUESTIONS, "exit", "ran twice"),
    ScenarioBug("results are seen early", results_are_seen_before_they_are_recorded, WORKFLOW, "exit", "was seen"),
    ScenarioBug(
        "recorded calls are not loaded", recorded_calls_are_not_loaded, PREVIOUS, "async", "ran again although"
    ),
    ScenarioBug("records in the parent graph", nested_records_go_to_the_parent_graph, NESTED, "sync", "was reported"),
    ScenarioBug(
        "records in the parent of parallel graphs",
        nested_records_go_to_the_parent_graph,
        PARALLEL,
        "async",
        "too often",
    ),
    ScenarioBug("finished graphs run again", finished_graphs_run_again, NESTED, "sync", "ran twice"),
    ScenarioBug("memory without a caller", memory_has_no_caller, MEMORY, "async", "ran again although"),
    ScenarioBug("waiting nodes are not stored", waiting_nodes_are_not_stored, DEFERRED, "sync", "is missing"),
    ScenarioBug("handlers begin unrecorded", handlers_begin_unrecorded, FAILURES, "sync", "its node had failed"),
    ScenarioBug("attempts are not recorded", attempts_are_not_recorded, FAILURES, "sync", "that it had failed"),
    ScenarioBug("edits expect no checkpoint", edits_expect_no_checkpoint, EDITS, "sync", "final state differs"),
    ScenarioBug(
        "inputs are accepted late", nodes_run_before_the_input_is_accepted, WORKFLOW, "exit", "before the input"
    ),
)
