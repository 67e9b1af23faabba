"""A `Command` as the input of a run: answers to interrupts, an update, and routes."""

from collections.abc import Iterable, Mapping
from typing import TypeGuard

import msgspec

from durable_graph._engine.admit import carry
from durable_graph._engine.answering import answer, chosen_answers, names_questions
from durable_graph._engine.apply import with_recorded
from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.delays import without_delays
from durable_graph._engine.header import questions_in
from durable_graph._engine.restore import check_plan
from durable_graph._engine.state import State
from durable_graph._engine.task import Outcome, Route, Write
from durable_graph._runtime.commit.requests import StatusChange
from durable_graph._runtime.commit.store import Stored
from durable_graph._runtime.commit.thread import KnownThread, open_thread
from durable_graph._runtime.entry.resume import accept, publish_answered, publish_resumed
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.output import Ended, Recorded, Start
from durable_graph._runtime.task.read_result import goto_routes
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph._runtime.task.writes import encode_anything, update_writes
from durable_graph.checkpointing.integrity import verified_records
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import (
    CheckpointConflictError,
    DurableGraphError,
    InterruptAnsweredError,
    InvalidOptionError,
    InvalidUpdateError,
    NothingToResumeError,
    UnknownInterruptError,
)
from durable_graph.graph import UNSET, Command
from durable_graph.records import TaskRecord, checkpoint_id


def command_parts(
    run: GraphRun, command: Command, values: Mapping[str, object]
) -> tuple[tuple[Write, ...], tuple[Route, ...]]:
    """The writes and routes of a Command, given these values. Raises for a Command that cannot be an input."""
    where = "the Command that is the input"
    if command.resume is UNSET and command.update is None and not command.goto:
        if command.after is not None:
            allowed = "None without goto: it is the time until the tasks of goto begin"
            raise InvalidOptionError(f"{where} with after", command.after, allowed=allowed)
        raise InvalidUpdateError(f"{where} is empty: pass update, goto or resume")
    if command.graph is not None:
        raise InvalidUpdateError(
            f"{where} is for the parent graph, and the outermost graph has none; leave out graph=Command.PARENT"
        )
    topology, limit = run.topology, run.store.max_value_bytes
    writes = () if command.update is None else update_writes(topology, command.update, values, where, limit)
    return writes, goto_routes(topology, command, "the run was given a Command", limit, run.due_after)


def only_answers(given: object) -> TypeGuard[Command]:
    """Whether an input contains answers and nothing else."""
    if not isinstance(given, Command) or given.resume is UNSET:
        return False
    return given.update is None and not given.goto and given.graph is None


async def apply_command(
    run: GraphRun, store: Stored, state: State, recorded: Recorded, command: Command
) -> Start | Ended:
    """Record the whole command in one commit. The run starts where the command leaves the thread.

    Pending tasks keep their results and their ids. While another run executes the thread, that run uses the answers,
    and this call has ended.
    Raises `AmbiguousResumeError`, `UnknownInterruptError`, `InterruptAnsweredError`, `NothingToResumeError`,
    `InvalidUpdateError`; then nothing was recorded.
    """
    applied = await _record(run, store, state, recorded, command)
    if applied.is_handed_over:
        return await _hand_over(run, applied)
    state, recorded = applied.state, applied.recorded
    log.run_resumed(run.request.thread_id, checkpoint_id(state.no), [task.node for task in state.plan])
    await publish_resumed(run, state, recorded)
    return Start(state, recorded, passes_breakpoint=True)


async def answer_beside(
    run: GraphRun, store: Stored, state: State, recorded: Recorded, command: Command
) -> tuple[Ended | None, Command]:
    """Record answers while another call of this process holds the thread.

    None, with the answers by id, if the thread's status is not "running": that call has not yet started its run, or
    its run has ended. Raises as `apply_command`.
    """
    command = Command(resume=await by_id(run, store.thread, state, recorded, command.resume))
    if store.thread.row.status != "running":
        return None, command
    applied = await _record(run, store, state, recorded, command, only_while_running=True)
    return (await _hand_over(run, applied) if applied.is_handed_over else None), command


async def record_answers(
    run: GraphRun, store: Stored, state: State, recorded: Recorded, command: Command
) -> tuple[str, ...]:
    """Record answers for the run that a worker executes. Returns their ids. Raises as `apply_command`, and
    `CheckpointConflictError` if `run` is a claimed one that another worker has claimed since."""
    return (await _record(run, store, state, recorded, command)).answered


class _Applied(msgspec.Struct, frozen=True):
    """The thread's state after a command. `answered` are the ids of the interrupts that it answered.

    `is_handed_over`: another run executes the thread and uses the answers.
    """

    state: State
    recorded: Recorded
    answered: tuple[str, ...] = ()
    is_handed_over: bool = False


async def _hand_over(run: GraphRun, applied: _Applied) -> Ended:
    """The end of a call whose answers another run uses."""
    await publish_answered(run, applied.state, applied.answered)
    values = with_recorded(run.topology, applied.state, applied.recorded)
    return Ended(applied.state, applied.recorded, values, is_stopped=True, left_answers=applied.answered)


async def _record(
    run: GraphRun,
    store: Stored,
    state: State,
    recorded: Recorded,
    command: Command,
    *,
    only_while_running: bool = False,
) -> _Applied:
    """Record the command. With `only_while_running`, record nothing if no other run executes the thread any more."""
    known, writer = store.thread, store.writer
    writes, routes = command_parts(run, command, state.values)
    answers: dict[str, object] | None = None
    while True:
        check_plan(run.topology, known.id, state, recorded)
        answered: tuple[Outcome, ...] = ()
        if command.resume is not UNSET:
            answers = await by_id(run, known, state, recorded, command.resume if answers is None else answers)
            answered = answer(known.id, state.plan, recorded, answers, lambda value: _encoded(run, value))
        status = known.row.status
        is_handed_over = only_answers(command) and status == "running"
        if only_while_running and not is_handed_over:
            return _Applied(state, recorded)
        try:
            if only_answers(command):
                change = None if is_handed_over else StatusChange("running")
                saving = writer.save_unmoved(store.own, answered, change, status, is_answer=True)
                is_saved = await finish(saving, run.request.grace) is not None
                after, adopted = state, None if is_saved else await writer.adopt(store.own, state.plan)
            else:
                carried = carry(run.topology, state, writes, routes, store.reserve(state))
                step = NextCheckpoint(
                    carried.state, carried.changes, parent=state.no, source="input", outcomes=answered
                )
                after, adopted = carried.state, await accept(run, store, state.plan, step)
            if adopted is None:
                known.stored = known.stored.with_answers(answers or ())
                recorded = {**without_delays(recorded), **{outcome.task.key: outcome for outcome in answered}}
                return _Applied(after, recorded, tuple(answers or ()), is_handed_over)
            recorded = adopted
        except CheckpointConflictError as error:
            if answers is None or run.request.owned is not None:
                # A worker that has lost its claim must not write under the epoch of the next holder.
                raise
            # Another caller may have answered first: then the error has to say so.
            better = await error_for(run, known, answers, error)
            if better is not error or not only_answers(command):
                raise better from None
            # Either a graph in a sibling task has committed, or the interrupt is no longer pending.
            state, recorded = await _reopened(run, store, error)


async def _reopened(run: GraphRun, store: Stored, error: CheckpointConflictError) -> tuple[State, Recorded]:
    """The thread's current state and outcomes. Raises the error if the thread was deleted or created anew since."""
    known = store.thread
    opened = await open_thread(known.saver, run.topology, known.id, None)
    if opened.restored is None or opened.thread.incarnation != known.row.incarnation:
        raise error
    known.reopen(opened)
    store.own = store.writer.namespace(run.topology, "", opened.restored)
    return opened.restored.state, opened.restored.recorded


def _encoded(run: GraphRun, value: object) -> bytes | None:
    return encode_anything(run.topology, value, "the answer to an interrupt", run.store.max_value_bytes)


async def by_id(
    run: GraphRun, known: KnownThread, state: State, recorded: Mapping[tuple[int, int], Outcome], resume: object
) -> dict[str, object]:
    """The answers of `Command(resume=resume)` by interrupt id, for the interrupts of the thread as it was read.

    The ids are resolved once, so an answer without an id cannot reach an interrupt that is raised later.

    Raises as `chosen_answers`, and `InterruptAnsweredError` also if the thread has moved past the answered interrupt.
    """
    thread = run.request.thread_id or ""
    try:
        return chosen_answers(thread, state.plan, recorded, resume)
    except (NothingToResumeError, UnknownInterruptError) as error:
        raise await error_for(run, known, resume, error) from None


async def error_for(run: GraphRun, known: KnownThread, resume: object, error: DurableGraphError) -> DurableGraphError:
    """The error for an answer that came too late: `InterruptAnsweredError` if its interrupt was answered before.

    Otherwise `error`, completed with facts from the thread's records.
    """
    found = await known.saver.load_records(known.id, "")
    if found is None or found.thread.incarnation != known.row.incarnation:
        return error
    questions = [_Questions.of(record) for record in await in_pieces(verified_records(found))]
    ids = tuple(resume) if names_questions(resume) else _last_asked(questions)
    answers = {id_: given for id_ in ids for each in questions if (given := each.answers.get(id_)) is not None}
    if answers:
        values = {id_: run.topology.argument.decode(data) for id_, data in answers.items()}
        first = next(iter(values))
        return InterruptAnsweredError(found.thread.thread, first, values[first], answers=values)
    is_pruned = found.thread.floor > 0
    match error:
        case UnknownInterruptError():
            is_superseded = any(error.id in each.asked for each in questions)
            return UnknownInterruptError(
                error.thread_id,
                error.id,
                open_ids=error.open_ids,
                is_superseded=is_superseded,
                is_pruned=is_pruned and not is_superseded,
            )
        case NothingToResumeError() if ids and found.thread.status != "done":
            why = "no question is open, because new input, an update or a failure followed the last question"
            remedy = "ainvoke(None) runs the tasks that are left, which ask again"
            return NothingToResumeError(error.thread_id, why, remedy=remedy)
        case NothingToResumeError() if is_pruned:
            why = f"{error.why}; the questions of older checkpoints were pruned"
            return NothingToResumeError(error.thread_id, why)
    return error


class _Questions(msgspec.Struct, frozen=True):
    """The interrupts of a task's last attempt, and all answers that the task has received, in their order."""

    born: int
    asked: tuple[str, ...]
    answers: Mapping[str, bytes]

    @classmethod
    def of(cls, record: TaskRecord) -> "_Questions":
        return cls(record.born, *questions_in(record.value))


def _last_asked(questions: Iterable[_Questions]) -> tuple[str, ...]:
    """The id of the last interrupt in the thread's records, which an answer without an id refers to."""
    last = max((each for each in questions if each.asked or each.answers), key=lambda each: each.born, default=None)
    if last is None:
        return ()
    was_left_open = [id_ for id_ in last.asked if id_ not in last.answers]
    return tuple(was_left_open or last.answers)[-1:]
