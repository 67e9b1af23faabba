"""Edits of a thread's state by its owner: each is a checkpoint, committed by compare-and-swap like any other."""

import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from durable_graph._engine.admit import Admitted, admit, replan
from durable_graph._engine.editing import clear, edit, inferred_node
from durable_graph._engine.restore import Restored, restore
from durable_graph._engine.state import State, initial_state
from durable_graph._engine.task import Done, Identity, Interrupted, Outcome, Task, is_waiting, namespace_of, task_id
from durable_graph._engine.unit import Step
from durable_graph._runtime.attempt import new_trial, route_as
from durable_graph._runtime.audience import Nobody
from durable_graph._runtime.cancellation import finish
from durable_graph._runtime.durability import Sync
from durable_graph._runtime.journal import Journal, Ledger, Opened, open_thread
from durable_graph._runtime.places import Place, topology_at
from durable_graph._runtime.run import Run
from durable_graph._runtime.session import Session, Shared
from durable_graph._runtime.workflow import is_workflow, returned
from durable_graph._runtime.writing import input_writes
from durable_graph.checkpointing import Checkpointer, verify
from durable_graph.errors import (
    CheckpointConflictError,
    InvalidUpdateError,
    UnknownCheckpointError,
    UnknownNodeError,
    UnknownTaskError,
)
from durable_graph.graph import END, START, Topology
from durable_graph.records import checkpoint_id

INPUT = "__input__"
COPY = "__copy__"
Recorded = dict[tuple[int, int], Outcome]


class StateUpdate(msgspec.Struct, frozen=True):
    """One update of a thread's state, as the node `as_node` would have written it.

    `as_node` may also be `START` or "__input__" (as new input), `END` (nothing is left to run) or "__copy__" (the same
    state and plan on a line of its own). `task_id` names the task that it counts as.
    """

    values: Any = None
    as_node: str | None = None
    task_id: str | None = None


async def edit_state(
    topology: Topology,
    saver: Checkpointer,
    place: Place,
    supersteps: Sequence[Sequence[StateUpdate]],
    run: Run,
    expected: int | None,
) -> int:
    """Commit updates, each sequence of them as one superstep, all together; gives the last checkpoint's number.

    Raises `CheckpointConflictError` where the newest checkpoint is not the one `expected`, or another writer was first.
    """
    opened = await open_thread(saver, topology, place.thread_id, None)
    journal = Journal(saver, opened.thread, os.urandom(16), run.metadata, lambda: time.time_ns() // 1000)
    own, restored = topology, opened.restored
    if place.ns:
        own = topology_at(topology, place.ns)
        restored = await _restored(saver, own, place.thread_id, place.ns, None)
    newest = restored.state.no if restored is not None else 0
    if expected is not None and expected != newest:
        raise CheckpointConflictError(
            place.thread_id, expected=expected, found=newest, checkpoint_id=checkpoint_id(newest)
        )
    ledger = journal.ledger(own, place.ns, restored)
    fork_of = None
    if place.no is not None and place.no != newest:
        restored = await _restored(saver, own, place.thread_id, place.ns, place.no)
        if restored is None:
            raise UnknownCheckpointError(place.thread_id, checkpoint_id(place.no))
        fork_of = place.no
        ledger = journal.ledger(own, place.ns, restored)
    if place.ns:
        await _wake_callers(journal, saver, topology, opened, place.ns)
    editor = _Editor(_session(own, run, journal, ledger, place.ns), ledger, fork_of)
    return await editor.commit(restored, supersteps)


async def _restored(saver: Checkpointer, topology: Topology, thread: str, ns: str, no: int | None) -> Restored | None:
    found = await saver.load(thread, ns, no)
    if found is None:
        return None
    verify(found)
    return restore(topology, found)


def _session(topology: Topology, run: Run, journal: Journal, ledger: Ledger, ns: str) -> Session:
    shared = Shared(journal, Sync(journal, run.grace), Nobody())
    return Session(topology, run, shared, ns=ns, ledger=ledger, identity=journal.identity(ns))


async def _wake_callers(journal: Journal, saver: Checkpointer, topology: Topology, opened: Opened, ns: str) -> None:
    """The tasks that wait for what this namespace asked are to run again: what they wait for may be gone."""
    at, plan, outer, restored = topology, "", "", opened.restored
    for part in ns.split("|"):
        if restored is None:
            return
        waiting = [
            (task, outcome)
            for task in restored.state.plan
            if namespace_of(outer, task).endswith(part) and is_waiting(outcome := restored.recorded.get(task.key))
        ]
        woken = [
            Interrupted(task, outcome.attempt, (), outcome.answers, outcome.revision + 1)
            for task, outcome in waiting
            if isinstance(outcome, Interrupted)
        ]
        if woken:
            await journal.save(journal.ledger(at, outer, restored), woken)
        outer = f"{outer}|{part}" if outer else part
        plan = outer
        if plan == ns:
            return
        at = topology_at(topology, outer)
        restored = await _restored(saver, at, opened.thread.thread, outer, None)


class _Editor:
    """Builds the checkpoints of one edit, one upon the other."""

    def __init__(self, session: Session, ledger: Ledger, fork_of: int | None) -> None:
        self._session = session
        self._ledger = ledger
        self._fork_of = fork_of

    async def commit(self, restored: Restored | None, supersteps: Sequence[Sequence[StateUpdate]]) -> int:
        journal = self._session.shared.journal
        assert journal is not None  # noqa: S101  # an edit is of a stored thread
        start = restored.state if restored is not None else initial_state(self._session.topology)
        # The outcomes of an older checkpoint's tasks belong to the line that went on from it.
        recorded: Recorded = restored.recorded if restored is not None and self._fork_of is None else {}
        source = restored.header.source if restored is not None else None
        writers = restored.header.writers if restored is not None else ()
        while True:
            steps: list[Step] = []
            state, known, said, wrote = start, recorded, source, writers
            for updates in supersteps:
                step = await self._step(state, known, said, wrote, updates)
                # It stays a part of the call that its namespace belongs to.
                caller = restored.header.caller if restored is not None else ""
                step = msgspec.structs.replace(step, fork_of=self._fork_of if not steps else None, caller=caller)
                steps.append(step)
                state, known, said, wrote = step.state, {}, step.source, step.writers
            commit = journal.commit(*((self._ledger, step) for step in steps))
            if await finish(commit, self._session.run.grace):
                return state.no
            recorded = await journal.adopt(self._ledger, start.plan if self._fork_of is None else ())

    async def _step(
        self,
        state: State,
        recorded: Recorded,
        source: str | None,
        writers: Sequence[str],
        updates: Sequence[StateUpdate],
    ) -> Step:
        session, topology = self._session, self._session.topology
        if len(updates) == 1:
            only = updates[0]
            if only.as_node is None and only.values is None:
                plan = State(session.reserve(state), state.step + 1, state.values, state.plan)
                return Step(plan, {}, state.no, "update", tuple(writers), is_stopped=bool(state.plan))
            if only.as_node == COPY:
                copied = replan(state, session.reserve(state))
                return Step(copied, {}, state.no, "fork", tuple(writers), is_stopped=bool(state.plan))
            if only.as_node == END:
                if only.values is not None:
                    raise InvalidUpdateError("as_node=END ends what is left to run, and takes no values")
                return _step_of(clear(topology, state, recorded, session.reserve(state)), state, "update")
            named = only.as_node or self._inferred(source, writers)
            if named in (START, INPUT):
                writes = input_writes(topology, only.values, state.values, session.max_value_bytes)
                return _step_of(admit(topology, state, recorded, writes, session.reserve(state)), state, "input")
            updates = [msgspec.structs.replace(only, as_node=named)]
        no = session.reserve(state)
        done = [await self._done(state, no, ord_, update) for ord_, update in enumerate(updates)]
        return _step_of(edit(topology, state, recorded, done, no), state, "update")

    async def _done(self, state: State, no: int, ord_: int, update: StateUpdate) -> Done:
        """What the node would have come to, its routers' choices included."""
        session, topology = self._session, self._session.topology
        if update.as_node is None:
            raise InvalidUpdateError(
                "several updates of one superstep have to name their nodes: pass as_node with each"
            )
        if update.as_node not in topology.nodes:
            where = "as_node is"
            raise UnknownNodeError(update.as_node, where=where, known=topology.nodes)
        if update.task_id is not None:
            self._check_task(state, update.task_id, update.as_node)
        task = Task(update.as_node, no, ord_)
        values = returned(update.values) if is_workflow(topology) else update.values
        attempted = await route_as(session, state, task, values, new_trial())
        if attempted.error is not None:
            raise attempted.error
        if not isinstance(attempted.outcome, Done):
            raise InvalidUpdateError(f"a router of {task.node!r} asks a question, which an update cannot wait for")
        return attempted.outcome

    def _inferred(self, source: str | None, writers: Sequence[str]) -> str:
        topology = self._session.topology
        # An entrypoint has one node, and what an edit of it is about is what that returned.
        return topology.name if is_workflow(topology) else inferred_node(topology, source, writers)

    def _check_task(self, state: State, id_: str, node: str) -> None:
        whose = self._session.identity or Identity("", 0)
        ids = {task_id(whose, task): task.node for task in state.plan}
        if ids.get(id_) != node:
            raise UnknownTaskError(whose.thread, id_, known=ids)


def _step_of(admitted: Admitted, state: State, source: str) -> Step:
    return Step(
        admitted.state,
        admitted.changes,
        parent=state.no,
        source=source,
        writers=admitted.writers,
        superseded=admitted.superseded,
        # Nobody runs it: it waits for who resumes it.
        is_stopped=bool(admitted.state.plan),
    )
