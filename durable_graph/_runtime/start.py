"""From a call to a running thread: load it, decide what the call means for it, and commit that before any node runs."""

import asyncio
import os
import time

from durable_graph._engine.admit import Admitted, admit, replan
from durable_graph._engine.header import Header
from durable_graph._engine.restore import check_plan
from durable_graph._engine.state import State, initial_state, output_of
from durable_graph._engine.task import Done, Outcome
from durable_graph._engine.unit import Step
from durable_graph._runtime import log
from durable_graph._runtime.attempt import Setting
from durable_graph._runtime.cancellation import finish, wind_up
from durable_graph._runtime.drive import Session, committed_event, drive, next_no
from durable_graph._runtime.durability import Async, Durability, Exit, Nowhere, Publish, Sync
from durable_graph._runtime.events import RunResumed
from durable_graph._runtime.journal import Journal, Opened, open_thread
from durable_graph._runtime.run import Run
from durable_graph._runtime.writing import input_writes
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import NothingToResumeError, UnfinishedThreadError, UnknownCheckpointError
from durable_graph.graph import Topology
from durable_graph.records import checkpoint_id

Recorded = dict[tuple[int, int], Outcome]


async def run_graph(topology: Topology, saver: Checkpointer | None, run: Run, publish: Publish) -> State:
    """The state at the end of the run. Everything that was taken on is settled with the store when this returns."""
    if saver is None or run.thread_id is None:
        return await _run_unstored(topology, run, publish)
    opened = await open_thread(saver, topology, run.thread_id, run.checkpoint)
    if run.checkpoint is not None and opened.restored is None:
        raise UnknownCheckpointError(run.thread_id, checkpoint_id(run.checkpoint))
    journal = Journal(
        saver, topology, opened, commit_id=os.urandom(16), metadata=run.metadata, now=lambda: time.time_ns() // 1000
    )
    setting = Setting(topology, journal.identity, run, saver.max_value_bytes)
    session = Session(setting, _durability(run, journal, publish), journal, publish)
    try:
        state, recorded = await _begin(session, journal, opened)
        final = await drive(session, state, recorded)
    except BaseException as error:
        await _settle_after(session, error)
        raise
    await session.durability.settle()
    return final


def _durability(run: Run, journal: Journal, publish: Publish) -> Durability:
    match run.durability:
        case "sync":
            return Sync(journal, publish, run.grace)
        case "async":
            return Async(journal, publish, run.grace, run.backlog)
        case "exit":
            return Exit(journal, publish, run.grace)


async def _settle_after(session: Session, error: BaseException) -> None:
    """Commit what was taken on although the run failed. If that fails too, the run's own error is what is raised."""
    settling = session.durability.settle()
    try:
        if not isinstance(error, asyncio.CancelledError):
            await settling
        elif not await wind_up(settling, session.setting.run.grace):
            log.grace_is_over("the store's last call", session.setting.run.grace)
    except Exception as later:
        if later is not error:
            error.add_note(f"what had finished could not be stored either: {type(later).__name__}: {later}")


async def _run_unstored(topology: Topology, run: Run, publish: Publish) -> State:
    if run.input is None:
        raise NothingToResumeError(None, "there is no checkpointer that could hold an earlier run")
    session = Session(Setting(topology, None, run, None), Nowhere(publish), None, publish)
    admitted = admit(topology, initial_state(topology), {}, input_writes(topology, run.input, None), 1)
    step = _input_step(admitted, 0, None)
    await session.durability.commit(step, [committed_event(session, step)])
    return await drive(session, admitted.state, {})


async def _begin(session: Session, journal: Journal, opened: Opened) -> tuple[State, Recorded]:
    """The state to drive on from, committed, and the outcomes that its tasks already have."""
    run = session.setting.run
    restored = opened.restored
    if restored is None:
        return await _accept(session, journal, initial_state(session.setting.topology), {}, None)
    is_fork = restored.state.no != opened.thread.head
    if run.input is None:
        check_plan(session.setting.topology, journal.thread.thread, restored.state.plan)
        if not restored.state.plan:
            why = "its run is finished" if not is_fork else "nothing was left to run at that checkpoint"
            raise NothingToResumeError(run.thread_id, why)
        if is_fork:
            return await _fork(session, journal, restored.state, restored.header)
        return await _resume(session, journal, restored.state, restored.recorded)
    if is_fork:
        # The other line keeps its unfinished tasks; this one begins with the input.
        emptied = State(restored.state.no, restored.state.step, restored.state.values, ())
        return await _accept(session, journal, emptied, {}, restored.state.no)
    return await _accept_on_head(session, journal, restored.state, restored.recorded)


async def _accept_on_head(
    session: Session, journal: Journal, state: State, recorded: Recorded
) -> tuple[State, Recorded]:
    """New input on the thread's head, which may be unfinished: the caller's policy says what becomes of that."""
    run = session.setting.run
    if state.plan and run.if_unfinished == "reject":
        pending = [task.node for task in state.plan if not isinstance(recorded.get(task.key), Done)]
        raise UnfinishedThreadError(journal.thread.thread, pending or [task.node for task in state.plan])
    if state.plan and run.if_unfinished == "resume":
        check_plan(session.setting.topology, journal.thread.thread, state.plan)
        # Read before anything runs: an input that cannot be taken is refused at once, not after the earlier run.
        input_writes(session.setting.topology, run.input, session.setting.max_value_bytes)
        state = await drive(session, *await _resume(session, journal, state, recorded))
        await session.durability.settle()
        recorded = {}
    return await _accept(session, journal, state, recorded, None)


async def _accept(
    session: Session, journal: Journal, state: State, recorded: Recorded, fork_of: int | None
) -> tuple[State, Recorded]:
    """Commit the input. What it supersedes is part of the same commit."""
    run = session.setting.run
    if run.input is None:
        raise NothingToResumeError(run.thread_id, "it has no checkpoint")
    topology = session.setting.topology
    writes = input_writes(topology, run.input, session.setting.max_value_bytes)
    while True:
        admitted = admit(topology, state, recorded, writes, next_no(session, state))
        step = _input_step(admitted, state.no, fork_of)
        if await _commit_now(session, journal, step):
            if admitted.superseded:
                nodes = [each.node for each in admitted.superseded]
                log.tasks_superseded(run.thread_id, checkpoint_id(admitted.state.no), nodes)
            return admitted.state, {}
        recorded = await journal.adopt(state.plan)


async def _fork(session: Session, journal: Journal, state: State, header: Header) -> tuple[State, Recorded]:
    """A line of its own from an older checkpoint: the same tasks as new ones."""
    replanned = replan(state, next_no(session, state))
    step = Step(replanned, {}, parent=state.no, source="fork", writers=header.writers, fork_of=state.no)
    while not await _commit_now(session, journal, step):
        await journal.adopt(())
    return replanned, {}


async def _resume(session: Session, journal: Journal, state: State, recorded: Recorded) -> tuple[State, Recorded]:
    """Go on from the head. No checkpoint is made; a thread that was set down as failed is running again."""
    run = session.setting.run
    if journal.thread.status != "running":
        await finish(journal.save((), "running"), run.grace)
    topology = session.setting.topology
    log.run_resumed(run.thread_id, checkpoint_id(state.no), [task.node for task in state.plan])
    await session.publish(
        RunResumed(
            thread_id=run.thread_id,
            step=state.step,
            checkpoint_id=checkpoint_id(state.no),
            values=output_of(topology, state.values),
            recorded=tuple(task.node for task in state.plan if isinstance(recorded.get(task.key), Done)),
            next=tuple(task.node for task in state.plan),
        )
    )
    return state, recorded


async def _commit_now(session: Session, journal: Journal, step: Step) -> bool:
    """Acceptance is committed at once, whatever the durability."""
    if not await finish(journal.commit(step), session.setting.run.grace):
        return False
    await session.publish(committed_event(session, step))
    return True


def _input_step(admitted: Admitted, parent: int, fork_of: int | None) -> Step:
    return Step(
        admitted.state,
        admitted.changes,
        parent=parent,
        source="input",
        writers=admitted.writers,
        superseded=admitted.superseded,
        fork_of=fork_of,
    )
