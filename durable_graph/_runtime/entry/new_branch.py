"""Running from an older checkpoint: a new branch, on which the pending tasks are planned again as new tasks."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from durable_graph._engine.admit import replan
from durable_graph._engine.answering import chosen_answers, names_questions, on_new_line
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.header import Header
from durable_graph._engine.restore import Restored, check_plan
from durable_graph._engine.state import State
from durable_graph._runtime.entry.command import apply_command, command_parts
from durable_graph._runtime.entry.resume import adopt, commit_now
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.output import Ended
from durable_graph._runtime.superstep.drive import drive
from durable_graph._runtime.superstep.publish import committed_events
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph._runtime.threads.fork import Level
from durable_graph.errors import (
    AmbiguousResumeError,
    InterruptAnsweredError,
    NothingToResumeError,
    UnknownInterruptError,
)
from durable_graph.graph import UNSET, Command
from durable_graph.records import checkpoint_id


async def fork_at(run: GraphRun, state: State, header: Header, *, check: bool) -> Ended:
    """Start a new branch from an older checkpoint, with its pending tasks as new tasks. `check` says to run them."""
    while True:
        replanned = replan(state, run.reserve(state))
        step = NextCheckpoint(replanned, {}, parent=state.no, source="fork", writers=header.writers, fork_of=state.no)
        if await commit_now(run, step):
            break
        await adopt(run, State(state.no, state.step, state.values, ()))
    if not check:
        return Ended(replanned, {}, replanned.values, is_stopped=True)
    return await drive(run, replanned, {}, passes_breakpoint=True)


async def fork_inside(run: GraphRun, levels: Sequence[Level], *, check: bool) -> Ended:
    """As `fork_at`, from a nested graph's checkpoint: the outer graphs' tasks resume it from there."""
    journal, outermost = run.shared.journal, levels[0]
    assert journal is not None  # noqa: S101  # there is a thread
    run.ledger = outermost.ledger
    while not await finish(journal.commit(*((each.ledger, each.step) for each in levels)), run.request.grace):
        await adopt(run, State(0, 0, {}, ()))
    run.shared.resting.update({level.ns: level.rest for level in levels[1:]})
    for event in committed_events(run, outermost.step):
        await run.shared.sink.emit(event)
    state = outermost.step.state
    if not check:
        return Ended(state, {}, state.values, is_stopped=True)
    return await drive(run, state, {}, passes_breakpoint=True)


async def apply_command_to_fork(
    run: GraphRun, restored: Restored, command: Command[Any], fork: Callable[..., Awaitable[Ended]]
) -> Ended:
    """Apply a Command on a new branch from an older checkpoint. An invalid Command is refused before the branch exists.

    `fork` makes the branch, and runs its tasks if its `check` is set.
    """
    state, recorded = restored.state, restored.recorded
    command_parts(run, command, state.values)
    check_plan(run.topology, run.request.thread_id or "", state)
    is_by_id = names_questions(command.resume)
    if is_by_id:
        chosen_answers(run.request.thread_id or "", state.plan, recorded, command.resume)
    ended = await fork(check=command.resume is not UNSET)
    if is_by_id:
        resume = on_new_line(command.resume, (state.plan, recorded), (ended.state.plan, ended.recorded))
        command = Command(update=command.update, resume=resume, goto=command.goto)
    try:
        return await apply_command(run, ended.state, ended.recorded, command)
    except (AmbiguousResumeError, InterruptAnsweredError, NothingToResumeError, UnknownInterruptError) as error:
        no = checkpoint_id(ended.state.no)
        error.add_note(f"the fork is stored, without the answer: its newest checkpoint is {no!r}")
        raise
