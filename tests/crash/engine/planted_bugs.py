"""Bugs to plant that a durable runtime could have, and the sentence that finds each of them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from durable_graph import Durability
from durable_graph._engine import apply as apply_module
from durable_graph._engine.admit import replan
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._runtime.commit.store import Stored
from durable_graph._runtime.commit.writer import Writer
from durable_graph._runtime.entry import resume, start
from durable_graph._runtime.events.sink import NullSink, Publication
from durable_graph._runtime.request.output import Start
from durable_graph._runtime.superstep import publish
from durable_graph._runtime.superstep.run_tasks import Outcomes, Superstep
from durable_graph._runtime.task import run_context
from durable_graph.errors import DurableGraphError
from tests.crash.scenarios.graph_shapes import Shape, chain, fan_out, join, loop, map_reduce

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug, the graph and the mode that show it, and a part of the oracle's sentence."""

    name: str
    plant: Plant
    shape: Callable[[], Any]
    mode: Durability
    found_as: str

    @property
    def on(self) -> Shape:
        return Shape(self.shape, {"log": ["in"], "seen": {"in": 0}})


def recorded_results_are_ignored(patch: pytest.MonkeyPatch) -> None:
    right = resume.resume

    async def resumed(run: Any, store: Any, state: Any, recorded: Any) -> Any:
        return await right(run, store, state, {})

    patch.setattr(start, "resume", resumed)


def results_are_applied_in_finishing_order(patch: pytest.MonkeyPatch) -> None:
    right = Superstep._executed

    def executed(self: Superstep) -> Outcomes:
        all_of_them = right(self)
        finished = list(self.attempted)
        late = len(finished)
        done = sorted(
            all_of_them.done,
            key=lambda each: finished.index(each.task.key) if each.task.key in finished else late,
        )
        return Outcomes(tuple(done), all_of_them.uncommitted, all_of_them.waiting)

    patch.setattr(Superstep, "_executed", executed)
    # The engine sorts them as well, so the bug needs both patches.
    patch.setattr(apply_module, "sorted", lambda items, key=None: list(items) if key else sorted(items), raising=False)


def task_ids_are_random(patch: pytest.MonkeyPatch) -> None:
    for module in (run_context, publish):
        patch.setattr(module, "task_id", lambda whose, task: uuid4().hex)


def records_are_sent_and_not_awaited(patch: pytest.MonkeyPatch) -> None:
    right, sent = Writer.save, set[asyncio.Task[Any]]()

    async def save(
        self: Writer, own: Any, outcomes: Sequence[Any], publication_of: Any, status: Any = None
    ) -> tuple[Any, ...]:
        sending = asyncio.create_task(right(self, own, outcomes, lambda _: Publication(NullSink()), status))
        sent.add(sending)
        sending.add_done_callback(lambda task: task.exception())
        await publication_of(outcomes).publish()
        return tuple(outcomes)

    patch.setattr(Writer, "save", save)


def results_are_kept_until_the_commit(patch: pytest.MonkeyPatch) -> None:
    async def save(self: Superstep, outcomes: Any, status: Any = None) -> Any:
        return outcomes

    patch.setattr(Superstep, "_save", save)


def a_checkpoint_is_published_before_it_is_committed(patch: pytest.MonkeyPatch) -> None:
    right = Writer.commit

    async def commit(self: Writer, own: Any, step: Any, publication: Publication) -> bool:
        await publication.publish()
        return await right(self, own, step, Publication(publication.sink))

    patch.setattr(Writer, "commit", commit)


def a_store_that_fails_is_ignored(patch: pytest.MonkeyPatch) -> None:
    right = Writer.commit

    async def commit(self: Writer, own: Any, step: Any, publication: Publication) -> bool:
        try:
            return await right(self, own, step, publication)
        except DurableGraphError:
            return True

    patch.setattr(Writer, "commit", commit)


def half_filled_joins_are_not_stored(patch: pytest.MonkeyPatch) -> None:
    right = apply_module.advance_joins

    def advance_joins(topology: Any, values: Any, finished: Any) -> Any:
        return right(topology, values, finished)[0], {}

    patch.setattr(apply_module, "advance_joins", advance_joins)


def the_input_is_committed_with_the_rest(patch: pytest.MonkeyPatch) -> None:
    async def accept(run: Any, store: Any, plan: Any, step: Any) -> Any:
        return await store.commit(plan, step, Publication(NullSink()))

    patch.setattr(start, "accept", accept)


def resuming_begins_with_a_checkpoint(patch: pytest.MonkeyPatch) -> None:
    async def resume(run: Any, store: Any, state: Any, recorded: Any) -> Any:
        replanned = replan(state, store.reserve(state))
        step = NextCheckpoint(replanned, {}, parent=state.no, source="loop")
        await store.writer.commit_now((store.own, step))
        return Start(replanned)

    patch.setattr(start, "resume", resume)


def checkpoints_are_numbered_by_a_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stored, "reserve", lambda self, state: time.time_ns())


BUGS = (
    Bug("resuming ignores recorded results", recorded_results_are_ignored, fan_out, "sync", "tasks ran again"),
    Bug("results are applied as they finish", results_are_applied_in_finishing_order, fan_out, "sync", "state differs"),
    Bug("task ids are random", task_ids_are_random, chain, "sync", "the undisturbed run does not have"),
    Bug("records are not awaited", records_are_sent_and_not_awaited, map_reduce, "sync", "were not recorded"),
    Bug("results wait for the commit", results_are_kept_until_the_commit, fan_out, "sync", "had ended"),
    Bug(
        "checkpoints are published too early",
        a_checkpoint_is_published_before_it_is_committed,
        loop,
        "sync",
        "not committed",
    ),
    Bug("failures of the store are ignored", a_store_that_fails_is_ignored, chain, "sync", "although the store"),
    Bug("half-filled joins are not stored", half_filled_joins_are_not_stored, join, "sync", "tasks never ran"),
    Bug("nodes run before acceptance", the_input_is_committed_with_the_rest, chain, "exit", "before the input"),
    Bug("resuming makes a checkpoint", resuming_begins_with_a_checkpoint, loop, "async", "missing, doubled"),
    Bug("a clock numbers checkpoints", checkpoints_are_numbered_by_a_clock, chain, "sync", "missing, doubled"),
)
