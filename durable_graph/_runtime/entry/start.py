"""From a call to a running thread: load the thread, choose what to do, and commit that before any node runs."""

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
from durable_graph._runtime.commit.policy import Async, Durability, Exit, Publication, Sync, Unstored
from durable_graph._runtime.commit.request_keys import acceptance, earlier_request, run_of_request
from durable_graph._runtime.entry.command import answer_beside, apply_command, command_parts, only_answers
from durable_graph._runtime.entry.new_branch import apply_command_to_fork, fork_at, fork_inside
from durable_graph._runtime.entry.resume import adopt, commit_now, input_step, resume
from durable_graph._runtime.events.sink import EventSink
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import wind_up
from durable_graph._runtime.request.control_flow import Draining
from durable_graph._runtime.request.namespaces import Place
from durable_graph._runtime.request.output import Ended, Recorded
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.superstep.drive import drive
from durable_graph._runtime.superstep.publish import committed_events, publish_drained
from durable_graph._runtime.task.run_context import GraphRun, RunContext
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
    topology: Topology, saver: Checkpointer | None, request: Request, sink: EventSink, cache: Cache | None = None
) -> Ended:
    """Run the graph, and return how the run ended. All its commits are settled in the store when this returns.

    Raises `GraphDrained` if the run was drained.
    """
    try:
        if saver is None or request.thread_id is None:
            return await _run_unstored(topology, request, sink, cache)
        return await _run_stored(topology, saver, request, sink, cache)
    except Draining as drained:
        reason = request.control.drain_reason if request.control is not None else None
        raise GraphDrained(reason or "shutdown") from drained


async def run_in_turn(
    topology: Topology, saver: Checkpointer | None, request: Request, sink: EventSink, cache: Cache | None = None
) -> Ended:
    """As `run_graph`, while this call holds the thread: no other call of this process can run it.

    Two kinds of calls do not wait for the thread. Answers without anything else are recorded for the run of the call
    that holds it, and a repeated request whose run has ended returns its result.

    Raises `ThreadBusyError` too.
    """
    if request.key is not None and (ended := await _repeated_while_held(topology, saver, request)) is not None:
        return ended
    while (
        saver is not None
        and request.checkpoint is None
        and only_answers(request.input)
        and (moved := held(saver, request.thread_id)) is not None
    ):
        ended, answers = await _answer_while_held(topology, saver, request, sink)
        if ended is not None:
            return ended
        request = msgspec.structs.replace(request, input=answers)
        # The other call soon starts its run or ends, and `moved` is set then.
        await moved
    async with only_run(saver, request.thread_id, request.if_busy):
        return await run_graph(topology, saver, request, sink, cache)


async def _repeated_while_held(topology: Topology, saver: Checkpointer | None, request: Request) -> Ended | None:
    """The result of a request that the thread accepted before, while another call of this process holds the thread.

    None if no call holds it, the request is new, or its run has not ended. Raises `KeyReusedError`.
    """
    if saver is None or request.thread_id is None or request.key is None or not is_held(saver, request.thread_id):
        return None
    opened = await open_thread(saver, topology, request.thread_id, None)
    keyed = acceptance(topology, request.key, request.input)
    earlier = await earlier_request(saver, request.thread_id, keyed) if opened.thread.version else None
    if earlier is None:
        return None
    run_of_it = await run_of_request(saver, topology, opened, earlier)
    return _ended_with(run_of_it.restored.state) if run_of_it.has_ended else None


async def _answer_while_held(
    topology: Topology, saver: Checkpointer, request: Request, sink: EventSink
) -> tuple[Ended | None, Command[Any]]:
    assert request.thread_id is not None  # noqa: S101  # the caller saw to it
    opened = await open_thread(saver, topology, request.thread_id, None)
    if opened.restored is None:
        raise NothingToResumeError(request.thread_id, "it has no checkpoint")
    _check_not_cancelled(request, opened.thread)
    run = _graph_run(topology, saver, request, sink, None, opened)
    return await answer_beside(run, opened.restored.state, opened.restored.recorded, request.input)


def _graph_run(
    topology: Topology, saver: Checkpointer, request: Request, sink: EventSink, cache: Cache | None, opened: Opened
) -> GraphRun:
    now, calls_in = lambda: time.time_ns() // 1000, set(opened.calls_in)
    journal = Journal(saver, opened.thread, os.urandom(16), request.metadata, now, calls_in, base=opened.base)
    return GraphRun(
        topology,
        request,
        RunContext(journal, _durability(request, journal), sink),
        ledger=journal.ledger(topology, "", opened.restored),
        identity=journal.identity(""),
        cache=cache,
    )


async def _run_stored(
    topology: Topology, saver: Checkpointer, request: Request, sink: EventSink, cache: Cache | None
) -> Ended:
    assert request.thread_id is not None  # noqa: S101  # the caller saw to it
    is_inside = bool(request.checkpoint_ns)
    opened = await open_thread(saver, topology, request.thread_id, None if is_inside else request.checkpoint)
    if request.checkpoint is not None and opened.restored is None:
        raise UnknownCheckpointError(request.thread_id, checkpoint_id(request.checkpoint))
    run = _graph_run(topology, saver, request, sink, cache, opened)
    try:
        ended = await (_dispatch_nested(run, opened) if is_inside else _dispatch_once(run, opened))
        _check_not_cancelled_meanwhile(run, ended)
    except BaseException as error:
        await _settle_after(run, error)
        if isinstance(error, Draining):
            await publish_drained(run)
        raise
    await run.shared.durability.settle()
    _check_not_cancelled_meanwhile(run, ended)
    return ended


def _check_not_cancelled_meanwhile(run: GraphRun, ended: Ended) -> None:
    journal = run.shared.journal
    if journal is not None and journal.is_cancelled and ended.state.plan:
        raise ThreadCancelledError(journal.thread.thread)


def _durability(request: Request, journal: Journal) -> Durability:
    match request.durability:
        case "sync":
            return Sync(journal, request.grace)
        case "async":
            return Async(journal, request.grace, request.backlog)
        case "exit":
            return Exit(journal, request.grace)


async def _settle_after(run: GraphRun, error: BaseException) -> None:
    """Settle the commits of a run that failed. If that fails too, add a note to the run's error, which is raised."""
    settling = run.shared.durability.settle()
    try:
        if not isinstance(error, asyncio.CancelledError):
            await settling
        elif not await wind_up(settling, run.request.grace):
            log.grace_is_over("the store's last call", run.request.grace)
    except Exception as later:
        if later is not error:
            add_note(error, f"the results of finished tasks could not be stored either: {shown(later)}")


async def _run_unstored(topology: Topology, request: Request, sink: EventSink, cache: Cache | None) -> Ended:
    if request.input is None:
        raise NothingToResumeError(None, "there is no checkpointer that could hold an earlier run")
    if isinstance(request.input, Command) and request.input.resume is not UNSET:
        what = "Command(resume=...)"
        raise MissingCheckpointerError(what)
    run = GraphRun(topology, request, RunContext(None, Unstored(), sink), cache=cache)
    try:
        return await accept_unstored(run)
    except Draining:
        await publish_drained(run)
        raise


async def accept_unstored(run: GraphRun) -> Ended:
    """Run on an input without storing anything. Raises `MissingCheckpointerError` for breakpoints."""
    topology = run.topology
    if run.request.stop_before != frozenset() or run.request.stop_after != frozenset():
        # A run that stopped there could not be resumed.
        what = "a breakpoint (interrupt_before, interrupt_after)"
        raise MissingCheckpointerError(what)
    start = initial_state(topology)
    writes, routes = input_parts(run, start.values)
    admitted = admit(topology, start, {}, writes, run.reserve(start), routes)
    step = input_step(run, admitted, 0)
    await run.shared.durability.commit(None, step, Publication(run.shared.sink, committed_events(run, step)))
    return await drive(run, admitted.state, {})


def input_parts(run: GraphRun, values: Mapping[str, Any]) -> tuple[tuple[Write, ...], tuple[Route, ...]]:
    """The input as writes, given these values, and as routes if it is a Command."""
    given = run.request.input
    if isinstance(given, Command):
        return command_parts(run, given, values)
    return input_writes(run.topology, given, values, run.max_value_bytes), ()


# Choosing what to do with the call


async def _dispatch_once(run: GraphRun, opened: Opened) -> Ended:
    """As `_dispatch`. A request whose key the thread has accepted before is not accepted again: see `_repeated`."""
    request, journal = run.request, run.shared.journal
    if request.key is None or request.thread_id is None or journal is None:
        return await _dispatch(run, opened)
    keyed = acceptance(run.topology, request.key, request.input)
    earlier = await earlier_request(journal.saver, request.thread_id, keyed) if opened.thread.version else None
    if earlier is not None:
        return await _repeated(run, opened, earlier)
    journal.accepts = keyed
    try:
        return await _dispatch(run, opened)
    except CheckpointConflictError:
        # `accepts` is None once a commit has accepted the request. Until then, another process may have sent the same
        # request first.
        if journal.accepts is None:
            raise
        earlier = await earlier_request(journal.saver, request.thread_id, keyed)
        if earlier is None:
            raise
    again = await open_thread(journal.saver, run.topology, request.thread_id, None)
    return await _repeated(_reopened(run, again), again, earlier)


def _reopened(run: GraphRun, opened: Opened) -> GraphRun:
    journal = run.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    return _graph_run(run.topology, journal.saver, run.request, run.shared.sink, run.cache, opened)


async def _repeated(run: GraphRun, opened: Opened, earlier: RequestRow) -> Ended:
    """Return the result of a request that was accepted before, or resume its run if it has not ended.

    Raises `NothingToResumeError` if the result no longer exists.
    """
    journal = run.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    run_of_it = await run_of_request(journal.saver, run.topology, opened, earlier)
    if run_of_it.has_ended:
        return _ended_with(run_of_it.restored.state)
    run.request = msgspec.structs.replace(run.request, input=None, checkpoint=None)
    ended = await _dispatch(run, msgspec.structs.replace(opened, restored=run_of_it.restored))
    return msgspec.structs.replace(ended, was_applied=False)


async def _dispatch(run: GraphRun, opened: Opened) -> Ended:
    """Run from the checkpoint of the call, with its input."""
    request, restored = run.request, opened.restored
    given = request.input
    _check_not_cancelled(request, opened.thread)
    if restored is None:
        if isinstance(given, Command) and given.resume is not UNSET:
            raise NothingToResumeError(request.thread_id, "it has no checkpoint")
        return await _accept(run, initial_state(run.topology), {}, None)
    is_fork = restored.state.no != opened.thread.head
    if not is_fork and (ended := _ended_before(request, restored.state)) is not None:
        return ended
    if isinstance(given, Command):
        if not is_fork:
            return await apply_command(run, restored.state, restored.recorded, given)
        return await apply_command_to_fork(run, restored, given, partial(fork_at, run, restored.state, restored.header))
    if given is None:
        check_plan(run.topology, opened.thread.thread, restored.state, {} if is_fork else restored.recorded)
        if not restored.state.plan:
            why = "its run is finished" if not is_fork else "nothing was left to run at that checkpoint"
            raise NothingToResumeError(request.thread_id, why)
        if is_fork:
            return await fork_at(run, restored.state, restored.header, check=True)
        return await resume(run, restored.state, restored.recorded)
    if is_fork:
        # The old branch keeps its unfinished tasks; the new branch starts with the input.
        emptied = State(restored.state.no, restored.state.step, restored.state.values, ())
        return await _accept(run, emptied, {}, restored.state.no)
    return await _accept_on_head(run, restored.state, restored.recorded)


def _check_not_cancelled(request: Request, thread: ThreadRow) -> None:
    """Raises `ThreadCancelledError` for a call that would resume a cancelled thread. New input is accepted."""
    if thread.status == "cancelled" and request.checkpoint is None and _is_continuation(request.input):
        raise ThreadCancelledError(thread.thread)


def _ended_before(request: Request, state: State) -> Ended | None:
    """The result of a call on a finished thread, None if the call is to run. Raises `ThreadFinishedError`."""
    is_answer = isinstance(request.input, Command) and request.input.resume is not UNSET
    if state.plan or is_answer or request.if_finished == "run":
        return None
    if request.if_finished == "return":
        return _ended_with(state)
    if request.input is None:
        return None
    raise ThreadFinishedError(request.thread_id or "")


def _ended_with(state: State) -> Ended:
    return Ended(state, {}, state.values, was_applied=False)


def _is_continuation(given: object) -> bool:
    """Whether an input resumes the thread's pending tasks: it is None, or contains answers."""
    return given is None or (isinstance(given, Command) and given.resume is not UNSET)


async def _dispatch_nested(run: GraphRun, opened: Opened) -> Ended:
    """Resume the run if the nested graph's checkpoint is its newest, else start a new branch from that checkpoint."""
    request, journal = run.request, run.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    given = request.input
    if given is not None and not isinstance(given, Command):
        option = "checkpoint_ns"
        raise InvalidOptionError(
            option, request.checkpoint_ns, allowed="'' with an input, which the outermost graph takes"
        )
    place = Place(journal.thread.thread, request.checkpoint_ns, request.checkpoint)
    if request.checkpoint is None or await is_at_head(journal.saver, place, opened.thread.head):
        return await _dispatch(run, opened)
    levels = await levels_to(run.topology, journal, place)
    for level in levels:
        check_plan(level.topology, journal.thread.thread, level.step.state)
    if not levels[-1].step.state.plan:
        raise NothingToResumeError(request.thread_id, "nothing was left to run at that checkpoint")
    if given is None:
        return await fork_inside(run, levels, check=True)
    return await apply_command_to_fork(run, levels[0].was, given, partial(fork_inside, run, levels))


async def _accept_on_head(run: GraphRun, state: State, recorded: Recorded) -> Ended:
    """Accept new input on the thread's head. The caller's `if_unfinished` decides about an unfinished run."""
    request = run.request
    thread = request.thread_id or ""
    if state.plan and request.if_unfinished == "reject":
        pending = [task.node for task in state.plan if not isinstance(recorded.get(task.key), Done)]
        raise UnfinishedThreadError(thread, pending or [task.node for task in state.plan])
    if state.plan and request.if_unfinished == "resume":
        check_plan(run.topology, thread, state, recorded)
        # The input is read before anything runs: an invalid input is refused at once, not after the earlier run.
        input_writes(run.topology, request.input, state.values, run.max_value_bytes)
        journal = run.shared.journal
        assert journal is not None  # noqa: S101  # there is a thread
        # The earlier run is not part of this request, so its commits must not accept the request's key, even if one of
        # them fails.
        keyed, journal.accepts = journal.accepts, None
        ended = await resume(run, state, recorded)
        if ended.is_stopped:
            # The earlier run waits for an answer, and an input is not an answer.
            raise UnfinishedThreadError(thread, [task.node for task in ended.state.plan], is_stopped=True)
        await run.shared.durability.settle()
        state, recorded, journal.accepts = ended.state, {}, keyed
    return await _accept(run, state, recorded, None)


async def _accept(run: GraphRun, state: State, recorded: Recorded, fork_of: int | None) -> Ended:
    """Commit the input, then run on it. The same commit records the tasks that it supersedes."""
    request = run.request
    if request.input is None:
        raise NothingToResumeError(request.thread_id, "it has no checkpoint")
    writes, routes = input_parts(run, with_recorded(run.topology, state, recorded))
    while True:
        admitted = admit(run.topology, state, recorded, writes, run.reserve(state), routes)
        step = input_step(run, admitted, state.no, fork_of)
        if await commit_now(run, step):
            if admitted.superseded:
                nodes = [each.node for each in admitted.superseded]
                log.tasks_superseded(request.thread_id, checkpoint_id(admitted.state.no), nodes)
            return await drive(run, admitted.state, {})
        recorded = await adopt(run, state)
