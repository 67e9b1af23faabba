"""From a call to a running thread: load it, decide what the call means for it, and commit that before any node runs."""

import asyncio
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from durable_graph._engine.admit import admit
from durable_graph._engine.apply import with_recorded
from durable_graph._engine.restore import check_plan
from durable_graph._engine.state import State, initial_state
from durable_graph._engine.task import Done, Route, Write
from durable_graph._runtime.commit.busy import held, is_held, only_run
from durable_graph._runtime.commit.journal import Journal
from durable_graph._runtime.commit.open_thread import Opened, open_thread
from durable_graph._runtime.commit.policy import Async, Durability, Exit, Nowhere, Sync, Told
from durable_graph._runtime.commit.request_keys import acceptance, earlier_request, run_of_request
from durable_graph._runtime.entry.command import answer_beside, command_parts, only_answers, steer
from durable_graph._runtime.entry.new_branch import fork_at, fork_inside, steer_fork
from durable_graph._runtime.entry.resume import adopt, commit_now, input_step, resume
from durable_graph._runtime.events.sink import Audience
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import wind_up
from durable_graph._runtime.request.control_flow import Draining
from durable_graph._runtime.request.namespaces import Place
from durable_graph._runtime.request.output import Ended, Recorded
from durable_graph._runtime.request.run import Run
from durable_graph._runtime.superstep.drive import drive
from durable_graph._runtime.superstep.publish import committed_events, tell_drained
from durable_graph._runtime.task.run_context import Session, Shared
from durable_graph._runtime.task.writes import input_writes
from durable_graph._runtime.threads.fork import is_at_head, levels_to
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import (
    CheckpointConflictError,
    GraphDrained,
    InvalidOptionError,
    MissingCheckpointerError,
    NothingToResumeError,
    ThreadCancelledError,
    ThreadFinishedError,
    UnfinishedThreadError,
    UnknownCheckpointError,
)
from durable_graph.errors.shown import add_note, shown
from durable_graph.graph import UNSET, Command, Topology
from durable_graph.records import RequestRow, ThreadRow, checkpoint_id


async def run_graph(
    topology: Topology, saver: Checkpointer | None, run: Run, audience: Audience, cache: Cache | None = None
) -> Ended:
    """Where the run ended. Everything that was taken on is settled with the store when this returns.

    Raises `GraphDrained` where it was asked to stop.
    """
    try:
        if saver is None or run.thread_id is None:
            return await _run_unstored(topology, run, audience, cache)
        return await _run_stored(topology, saver, run, audience, cache)
    except Draining as drained:
        reason = run.control.drain_reason if run.control is not None else None
        raise GraphDrained(reason or "shutdown") from drained


async def run_in_turn(
    topology: Topology, saver: Checkpointer | None, run: Run, audience: Audience, cache: Cache | None = None
) -> Ended:
    """As `run_graph`, with the thread held against other calls of this process.

    Answers alone need not wait: while another call has the thread, they are recorded for its run. Nor does the
    repetition of a request whose run has ended.

    Raises `ThreadBusyError` too.
    """
    if run.key is not None and (ended := await _repeated_beside(topology, saver, run)) is not None:
        return ended
    while (
        saver is not None
        and run.checkpoint is None
        and only_answers(run.input)
        and (moved := held(saver, run.thread_id)) is not None
    ):
        ended, answers = await _answer_beside(topology, saver, run, audience)
        if ended is not None:
            return ended
        run = msgspec.structs.replace(run, input=answers)
        # The other call is about to run the thread, or about to end: either is soon.
        await moved
    async with only_run(saver, run.thread_id, run.if_busy):
        return await run_graph(topology, saver, run, audience, cache)


async def _repeated_beside(topology: Topology, saver: Checkpointer | None, run: Run) -> Ended | None:
    """The result of a request that was taken before, while another call of this process has the thread.

    None where no call has it, the request is new, or its run has not ended. Raises `KeyReusedError`.
    """
    if saver is None or run.thread_id is None or run.key is None or not is_held(saver, run.thread_id):
        return None
    opened = await open_thread(saver, topology, run.thread_id, None)
    request = acceptance(topology, run.key, run.input)
    earlier = await earlier_request(saver, run.thread_id, request) if opened.thread.version else None
    if earlier is None:
        return None
    run_of_it = await run_of_request(saver, topology, opened, earlier)
    return _ended_with(run_of_it.restored.state) if run_of_it.has_ended else None


async def _answer_beside(
    topology: Topology, saver: Checkpointer, run: Run, audience: Audience
) -> tuple[Ended | None, Command[Any]]:
    assert run.thread_id is not None  # noqa: S101  # the caller saw to it
    opened = await open_thread(saver, topology, run.thread_id, None)
    if opened.restored is None:
        raise NothingToResumeError(run.thread_id, "it has no checkpoint")
    _check_not_cancelled(run, opened.thread)
    session = _session(topology, saver, run, audience, None, opened)
    return await answer_beside(session, opened.restored.state, opened.restored.recorded, run.input)


def _session(
    topology: Topology, saver: Checkpointer, run: Run, audience: Audience, cache: Cache | None, opened: Opened
) -> Session:
    now, calls_in = lambda: time.time_ns() // 1000, set(opened.calls_in)
    journal = Journal(saver, opened.thread, os.urandom(16), run.metadata, now, calls_in)
    return Session(
        topology,
        run,
        Shared(journal, _durability(run, journal), audience),
        ledger=journal.ledger(topology, "", opened.restored),
        identity=journal.identity(""),
        cache=cache,
    )


async def _run_stored(
    topology: Topology, saver: Checkpointer, run: Run, audience: Audience, cache: Cache | None
) -> Ended:
    assert run.thread_id is not None  # noqa: S101  # the caller saw to it
    is_inside = bool(run.checkpoint_ns)
    opened = await open_thread(saver, topology, run.thread_id, None if is_inside else run.checkpoint)
    if run.checkpoint is not None and opened.restored is None:
        raise UnknownCheckpointError(run.thread_id, checkpoint_id(run.checkpoint))
    session = _session(topology, saver, run, audience, cache, opened)
    try:
        ended = await (_go_inside(session, opened) if is_inside else _go_once(session, opened))
        _check_not_cancelled_meanwhile(session, ended)
    except BaseException as error:
        await _settle_after(session, error)
        if isinstance(error, Draining):
            await tell_drained(session)
        raise
    await session.shared.durability.settle()
    _check_not_cancelled_meanwhile(session, ended)
    return ended


def _check_not_cancelled_meanwhile(session: Session, ended: Ended) -> None:
    journal = session.shared.journal
    if journal is not None and journal.is_cancelled and ended.state.plan:
        raise ThreadCancelledError(journal.thread.thread)


def _durability(run: Run, journal: Journal) -> Durability:
    match run.durability:
        case "sync":
            return Sync(journal, run.grace)
        case "async":
            return Async(journal, run.grace, run.backlog)
        case "exit":
            return Exit(journal, run.grace)


async def _settle_after(session: Session, error: BaseException) -> None:
    """Commit what was taken on although the run failed. If that fails too, the run's own error is what is raised."""
    settling = session.shared.durability.settle()
    try:
        if not isinstance(error, asyncio.CancelledError):
            await settling
        elif not await wind_up(settling, session.run.grace):
            log.grace_is_over("the store's last call", session.run.grace)
    except Exception as later:
        if later is not error:
            add_note(error, f"what had finished could not be stored either: {shown(later)}")


async def _run_unstored(topology: Topology, run: Run, audience: Audience, cache: Cache | None) -> Ended:
    if run.input is None:
        raise NothingToResumeError(None, "there is no checkpointer that could hold an earlier run")
    if isinstance(run.input, Command) and run.input.resume is not UNSET:
        what = "Command(resume=...)"
        raise MissingCheckpointerError(what)
    session = Session(topology, run, Shared(None, Nowhere(), audience), cache=cache)
    try:
        return await accept_unstored(session)
    except Draining:
        await tell_drained(session)
        raise


async def accept_unstored(session: Session) -> Ended:
    """Run on an input in a namespace where nothing is kept. Raises `MissingCheckpointerError` for breakpoints."""
    topology = session.topology
    if session.run.stop_before != frozenset() or session.run.stop_after != frozenset():
        # There would be no way on from where it stopped.
        what = "a breakpoint (interrupt_before, interrupt_after)"
        raise MissingCheckpointerError(what)
    start = initial_state(topology)
    writes, routes = input_parts(session, start.values)
    admitted = admit(topology, start, {}, writes, session.reserve(start), routes)
    step = input_step(session, admitted, 0)
    await session.shared.durability.commit(None, step, Told(session.shared.audience, committed_events(session, step)))
    return await drive(session, admitted.state, {})


def input_parts(session: Session, values: Mapping[str, Any]) -> tuple[tuple[Write, ...], tuple[Route, ...]]:
    """The input to these values as writes and, where it is a Command, routes."""
    given = session.run.input
    if isinstance(given, Command):
        return command_parts(session, given, values)
    return input_writes(session.topology, given, values, session.max_value_bytes), ()


# What a call means for the thread


async def _go_once(session: Session, opened: Opened) -> Ended:
    """As `_go`. A request with a key that the thread has taken before is not taken again: see `_repeated`."""
    run, journal = session.run, session.shared.journal
    if run.key is None or run.thread_id is None or journal is None:
        return await _go(session, opened)
    request = acceptance(session.topology, run.key, run.input)
    earlier = await earlier_request(journal.saver, run.thread_id, request) if opened.thread.version else None
    if earlier is not None:
        return await _repeated(session, opened, earlier)
    journal.accepts = request
    try:
        return await _go(session, opened)
    except CheckpointConflictError:
        # Nothing is accepted while this is left: perhaps the same request was first, from another process.
        if journal.accepts is None:
            raise
        earlier = await earlier_request(journal.saver, run.thread_id, request)
        if earlier is None:
            raise
    again = await open_thread(journal.saver, session.topology, run.thread_id, None)
    return await _repeated(_reopened(session, again), again, earlier)


def _reopened(session: Session, opened: Opened) -> Session:
    journal = session.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    return _session(session.topology, journal.saver, session.run, session.shared.audience, session.cache, opened)


async def _repeated(session: Session, opened: Opened, earlier: RequestRow) -> Ended:
    """What became of a request that was taken before: its result, or its run goes on if it has not ended.

    Raises `NothingToResumeError` where its result is not there any more.
    """
    journal = session.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    run_of_it = await run_of_request(journal.saver, session.topology, opened, earlier)
    if run_of_it.has_ended:
        return _ended_with(run_of_it.restored.state)
    session.run = msgspec.structs.replace(session.run, input=None, checkpoint=None)
    ended = await _go(session, msgspec.structs.replace(opened, restored=run_of_it.restored))
    return msgspec.structs.replace(ended, was_applied=False)


async def _go(session: Session, opened: Opened) -> Ended:
    """Run from where the call says, on what it brings."""
    run, restored = session.run, opened.restored
    given = run.input
    _check_not_cancelled(run, opened.thread)
    if restored is None:
        if isinstance(given, Command) and given.resume is not UNSET:
            raise NothingToResumeError(run.thread_id, "it has no checkpoint")
        return await _accept(session, initial_state(session.topology), {}, None)
    is_fork = restored.state.no != opened.thread.head
    if not is_fork and (ended := _ended_before(run, restored.state)) is not None:
        return ended
    if isinstance(given, Command):
        if not is_fork:
            return await steer(session, restored.state, restored.recorded, given)
        return await steer_fork(session, restored, given, partial(fork_at, session, restored.state, restored.header))
    if given is None:
        check_plan(session.topology, opened.thread.thread, restored.state, {} if is_fork else restored.recorded)
        if not restored.state.plan:
            why = "its run is finished" if not is_fork else "nothing was left to run at that checkpoint"
            raise NothingToResumeError(run.thread_id, why)
        if is_fork:
            return await fork_at(session, restored.state, restored.header, check=True)
        return await resume(session, restored.state, restored.recorded)
    if is_fork:
        # The other line keeps its unfinished tasks; this one begins with the input.
        emptied = State(restored.state.no, restored.state.step, restored.state.values, ())
        return await _accept(session, emptied, {}, restored.state.no)
    return await _accept_on_head(session, restored.state, restored.recorded)


def _check_not_cancelled(run: Run, thread: ThreadRow) -> None:
    """Raises `ThreadCancelledError` for a call that would go on with what was cancelled. New input takes its place."""
    if thread.status == "cancelled" and run.checkpoint is None and _is_continuation(run.input):
        raise ThreadCancelledError(thread.thread)


def _ended_before(run: Run, state: State) -> Ended | None:
    """What a call comes to on a thread that is finished, if it is not to run. Raises `ThreadFinishedError`."""
    is_answer = isinstance(run.input, Command) and run.input.resume is not UNSET
    if state.plan or is_answer or run.if_finished == "run":
        return None
    if run.if_finished == "return":
        return _ended_with(state)
    if run.input is None:
        return None
    raise ThreadFinishedError(run.thread_id or "")


def _ended_with(state: State) -> Ended:
    return Ended(state, {}, state.values, was_applied=False)


def _is_continuation(given: object) -> bool:
    """Whether an input is about what the thread has left to run: none, or answers."""
    return given is None or (isinstance(given, Command) and given.resume is not UNSET)


async def _go_inside(session: Session, opened: Opened) -> Ended:
    """Go on from a nested graph's checkpoint: with the run as it is, or on a line of its own from an older one."""
    run, journal = session.run, session.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    given = run.input
    if given is not None and not isinstance(given, Command):
        option = "checkpoint_ns"
        raise InvalidOptionError(option, run.checkpoint_ns, allowed="'' with an input, which the outermost graph takes")
    place = Place(journal.thread.thread, run.checkpoint_ns, run.checkpoint)
    if run.checkpoint is None or await is_at_head(journal.saver, place, opened.thread.head):
        return await _go(session, opened)
    levels = await levels_to(session.topology, journal, place)
    for level in levels:
        check_plan(level.topology, journal.thread.thread, level.step.state)
    if not levels[-1].step.state.plan:
        raise NothingToResumeError(run.thread_id, "nothing was left to run at that checkpoint")
    if given is None:
        return await fork_inside(session, levels, check=True)
    return await steer_fork(session, levels[0].was, given, partial(fork_inside, session, levels))


async def _accept_on_head(session: Session, state: State, recorded: Recorded) -> Ended:
    """New input on the thread's head, which may be unfinished: the caller's policy says what becomes of that."""
    run = session.run
    thread = run.thread_id or ""
    if state.plan and run.if_unfinished == "reject":
        pending = [task.node for task in state.plan if not isinstance(recorded.get(task.key), Done)]
        raise UnfinishedThreadError(thread, pending or [task.node for task in state.plan])
    if state.plan and run.if_unfinished == "resume":
        check_plan(session.topology, thread, state, recorded)
        # Read before anything runs: an input that cannot be taken is refused at once, not after the earlier run.
        input_writes(session.topology, run.input, state.values, session.max_value_bytes)
        journal = session.shared.journal
        assert journal is not None  # noqa: S101  # there is a thread
        # What is left to run is not the request: none of its commits is to accept that, also where one fails.
        request, journal.accepts = journal.accepts, None
        ended = await resume(session, state, recorded)
        if ended.is_stopped:
            # It waits for an answer, which no input is.
            raise UnfinishedThreadError(thread, [task.node for task in ended.state.plan])
        await session.shared.durability.settle()
        state, recorded, journal.accepts = ended.state, {}, request
    return await _accept(session, state, recorded, None)


async def _accept(session: Session, state: State, recorded: Recorded, fork_of: int | None) -> Ended:
    """Commit the input, then run on it. What it supersedes is part of the same commit."""
    run = session.run
    if run.input is None:
        raise NothingToResumeError(run.thread_id, "it has no checkpoint")
    writes, routes = input_parts(session, with_recorded(session.topology, state, recorded))
    while True:
        admitted = admit(session.topology, state, recorded, writes, session.reserve(state), routes)
        step = input_step(session, admitted, state.no, fork_of)
        if await commit_now(session, step):
            if admitted.superseded:
                nodes = [each.node for each in admitted.superseded]
                log.tasks_superseded(run.thread_id, checkpoint_id(admitted.state.no), nodes)
            return await drive(session, admitted.state, {})
        recorded = await adopt(session, state)
