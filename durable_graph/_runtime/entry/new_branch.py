"""Running from an older checkpoint: a line of its own, on which the same tasks are new ones."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from durable_graph._engine.admit import replan
from durable_graph._engine.answering import chosen_answers, names_questions, on_new_line
from durable_graph._engine.header import Header
from durable_graph._engine.restore import Restored, check_plan
from durable_graph._engine.state import State
from durable_graph._engine.unit import Step
from durable_graph._runtime.entry.command import command_parts, steer
from durable_graph._runtime.entry.resume import adopt, commit_now
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.output import Ended
from durable_graph._runtime.superstep.drive import drive
from durable_graph._runtime.superstep.publish import committed_events
from durable_graph._runtime.task.run_context import Session
from durable_graph._runtime.threads.fork import Level
from durable_graph.errors import (
    AmbiguousResumeError,
    InterruptAnsweredError,
    NothingToResumeError,
    UnknownInterruptError,
)
from durable_graph.graph import UNSET, Command
from durable_graph.records import checkpoint_id


async def fork_at(session: Session, state: State, header: Header, *, check: bool) -> Ended:
    """A line of its own from an older checkpoint: the same tasks as new ones. They run where `check` is set."""
    while True:
        replanned = replan(state, session.reserve(state))
        step = Step(replanned, {}, parent=state.no, source="fork", writers=header.writers, fork_of=state.no)
        if await commit_now(session, step):
            break
        await adopt(session, State(state.no, state.step, state.values, ()))
    if not check:
        return Ended(replanned, {}, replanned.values, is_stopped=True)
    return await drive(session, replanned, {}, passes_breakpoint=True)


async def fork_inside(session: Session, levels: Sequence[Level], *, check: bool) -> Ended:
    """As `fork_at`, from a nested graph's checkpoint: what runs it finds it where it was."""
    journal, outermost = session.shared.journal, levels[0]
    assert journal is not None  # noqa: S101  # there is a thread
    session.ledger = outermost.ledger
    while not await finish(journal.commit(*((each.ledger, each.step) for each in levels)), session.run.grace):
        await adopt(session, State(0, 0, {}, ()))
    session.shared.resting.update({level.ns: level.rest for level in levels[1:]})
    for event in committed_events(session, outermost.step):
        await session.shared.audience.tell(event)
    state = outermost.step.state
    if not check:
        return Ended(state, {}, state.values, is_stopped=True)
    return await drive(session, state, {}, passes_breakpoint=True)


async def steer_fork(
    session: Session, restored: Restored, command: Command[Any], fork: Callable[..., Awaitable[Ended]]
) -> Ended:
    """What a Command brings, on a line of its own from an older checkpoint. It is refused before there is that line.

    `fork` makes the line, and runs its tasks where its `check` is set.
    """
    state, recorded = restored.state, restored.recorded
    command_parts(session, command, state.values)
    check_plan(session.topology, session.run.thread_id or "", state)
    is_by_id = names_questions(command.resume)
    if is_by_id:
        chosen_answers(session.run.thread_id or "", state.plan, recorded, command.resume)
    ended = await fork(check=command.resume is not UNSET)
    if is_by_id:
        resume = on_new_line(command.resume, (state.plan, recorded), (ended.state.plan, ended.recorded))
        command = Command(update=command.update, resume=resume, goto=command.goto)
    try:
        return await steer(session, ended.state, ended.recorded, command)
    except (AmbiguousResumeError, InterruptAnsweredError, NothingToResumeError, UnknownInterruptError) as error:
        no = checkpoint_id(ended.state.no)
        error.add_note(f"the fork is stored, without the answer: its newest checkpoint is {no!r}")
        raise
