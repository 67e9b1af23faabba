"""A `Command` as the input of a run: answers to questions, an update, and where to go."""

from collections.abc import Mapping
from typing import Any

from durable_graph._engine.admit import carry
from durable_graph._engine.answering import answer
from durable_graph._engine.header import answers_in
from durable_graph._engine.restore import check_plan
from durable_graph._engine.state import State
from durable_graph._engine.task import Outcome, Route, Write, answers_of
from durable_graph._engine.unit import Step
from durable_graph._runtime import log
from durable_graph._runtime.cancellation import finish
from durable_graph._runtime.drive import Ended, Recorded, drive
from durable_graph._runtime.entering import adopt, commit_now, tell_resumed
from durable_graph._runtime.results import goto_routes
from durable_graph._runtime.session import Session
from durable_graph._runtime.writing import encode_anything, update_writes
from durable_graph.checkpointing import verify_records
from durable_graph.errors import (
    CheckpointConflictError,
    InterruptAnsweredError,
    InvalidCommandError,
    NothingToResumeError,
    UnknownInterruptError,
)
from durable_graph.graph import UNSET, Command
from durable_graph.records import checkpoint_id


def command_parts(
    session: Session, command: Command[Any], values: Mapping[str, Any]
) -> tuple[tuple[Write, ...], tuple[Route, ...]]:
    """What a Command writes to these values, and where it goes. Raises for what it cannot mean as an input."""
    where = "the Command that is the input"
    if command.resume is UNSET and command.update is None and not command.goto:
        raise InvalidCommandError(f"{where} says nothing: give it update, goto or resume")
    if command.graph is not None:
        raise InvalidCommandError(f"{where} is for its parent graph, and a run is of this one")
    topology, limit = session.topology, session.max_value_bytes
    writes = () if command.update is None else update_writes(topology, command.update, values, where, limit)
    return writes, goto_routes(topology, command, "the run was given a Command", limit)


async def steer(session: Session, state: State, recorded: Recorded, command: Command[Any]) -> Ended:
    """Record what the command brings, as one, and go on with what can go on.

    Tasks that were left keep their results and their ids. Raises `AmbiguousResumeError`, `UnknownInterruptError`,
    `InterruptAnsweredError`, `NothingToResumeError`, `InvalidCommandError`; then nothing was recorded.
    """
    state, recorded = await _record(session, state, recorded, command)
    log.run_resumed(session.run.thread_id, checkpoint_id(state.no), [task.node for task in state.plan])
    await tell_resumed(session, state, recorded)
    return await drive(session, state, recorded, passes_breakpoint=True)


async def _record(session: Session, state: State, recorded: Recorded, command: Command[Any]) -> tuple[State, Recorded]:
    journal, ledger = session.shared.journal, session.ledger
    assert journal is not None  # noqa: S101  # there is a thread
    assert ledger is not None  # noqa: S101  # it comes with the journal
    writes, routes = command_parts(session, command, state.values)
    thread = journal.thread.thread
    while True:
        check_plan(session.topology, thread, state, recorded)
        answered: tuple[Outcome, ...] = ()
        try:
            if command.resume is not UNSET:
                answered = answer(thread, state.plan, recorded, command.resume, lambda value: _encoded(session, value))
            if writes or routes or command.resume is UNSET:
                carried = carry(session.topology, state, writes, routes, session.reserve(state))
                step = Step(carried.state, carried.changes, parent=state.no, source="input", outcomes=answered)
                after, is_applied = carried.state, await commit_now(session, step)
            else:
                saving = journal.save_unmoved(ledger, answered, "running")
                after, is_applied = state, await finish(saving, session.run.grace)
        except (CheckpointConflictError, NothingToResumeError, UnknownInterruptError):
            # Another process may have been first: then that is what to tell.
            await _raise_if_answered(session, _ids(command.resume, answered))
            raise
        if is_applied:
            return after, {**recorded, **{outcome.task.key: outcome for outcome in answered}}
        recorded = await adopt(session, state)


def _encoded(session: Session, value: Any) -> bytes | None:
    return encode_anything(session.topology, value, "the answer to an interrupt", session.max_value_bytes)


def _ids(resume: Any, answered: tuple[Outcome, ...]) -> set[str]:
    """The questions that an answer was meant for, as far as that is known."""
    meant = {each.id for outcome in answered for each in answers_of(outcome)}
    return meant | ({key for key in resume if isinstance(key, str)} if isinstance(resume, dict) else set())


async def _raise_if_answered(session: Session, ids: set[str]) -> None:
    journal = session.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    found = await journal.saver.load_records(journal.thread.thread, "") if ids else None
    if found is None:
        return
    for record in verify_records(found):
        for given in answers_in(session.topology, record.value):
            if given.id in ids:
                raise InterruptAnsweredError(journal.thread.thread, given.id, given.value)
