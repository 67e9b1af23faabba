"""Running from an older checkpoint: a new branch, on which the pending tasks are planned again as new tasks."""

from collections.abc import Awaitable, Callable, Sequence

from durable_graph._engine.admit import replan
from durable_graph._engine.answering import chosen_answers, names_questions, on_new_line
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.header import Header
from durable_graph._engine.restore import Restored, check_plan
from durable_graph._engine.state import State
from durable_graph._runtime.commit.store import Stored
from durable_graph._runtime.entry.command import apply_command, command_parts
from durable_graph._runtime.entry.resume import accept
from durable_graph._runtime.request.output import Ended, Start
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


async def fork_at(run: GraphRun, store: Stored, state: State, header: Header) -> Start:
    """Begin a new branch from an older checkpoint, with its pending tasks as new tasks."""
    while True:
        replanned = replan(state, store.reserve(state))
        step = NextCheckpoint(replanned, {}, parent=state.no, source="fork", writers=header.writers, fork_of=state.no)
        if await accept(run, store, (), step) is None:
            break
    return Start(replanned, passes_breakpoint=True)


async def fork_inside(run: GraphRun, store: Stored, levels: Sequence[Level]) -> Start:
    """As `fork_at`, from a nested graph's checkpoint: the outer graphs' tasks resume it from there."""
    outermost = levels[0]
    store.own = outermost.own
    while not await store.writer.commit_now(*((each.own, each.step) for each in levels)):
        await store.writer.adopt(store.own, ())
    run.shared.resting.update({level.ns: level.rest for level in levels[1:]})
    for event in committed_events(run, outermost.step):
        await run.shared.sink.emit(event)
    return Start(outermost.step.state, passes_breakpoint=True)


async def apply_command_to_fork(
    run: GraphRun, store: Stored, restored: Restored, command: Command, fork: Callable[[], Awaitable[Start]]
) -> Start | Ended:
    """Apply a Command on the new branch that `fork` begins from an older checkpoint. An invalid Command is refused
    before the branch exists.

    If the Command has answers, the tasks of the new branch run first, until they have raised their interrupts again.
    """
    state, recorded = restored.state, restored.recorded
    command_parts(run, command, state.values)
    check_plan(run.topology, run.request.thread_id or "", state)
    is_by_id = names_questions(command.resume)
    if is_by_id:
        chosen_answers(run.request.thread_id or "", state.plan, recorded, command.resume)
    forked = await fork()
    branch = forked if command.resume is UNSET else await drive(run, forked)
    if is_by_id:
        resume = on_new_line(command.resume, (state.plan, recorded), (branch.state.plan, branch.recorded))
        command = Command(update=command.update, resume=resume, goto=command.goto, after=command.after)
    try:
        return await apply_command(run, store, branch.state, branch.recorded, command)
    except (AmbiguousResumeError, InterruptAnsweredError, NothingToResumeError, UnknownInterruptError) as error:
        no = checkpoint_id(branch.state.no)
        error.add_note(f"the fork is stored, without the answer: its newest checkpoint is {no!r}")
        raise
