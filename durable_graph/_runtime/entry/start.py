"""From a call to a running graph: load the thread, choose where to start, commit that, and run from there."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial

import msgspec

from durable_graph._engine.admit import admit
from durable_graph._engine.apply import with_recorded
from durable_graph._engine.delays import has_delay, with_delays
from durable_graph._engine.due import awoken
from durable_graph._engine.header import moment_of
from durable_graph._engine.restore import Restored, check_plan
from durable_graph._engine.state import State, initial_state
from durable_graph._engine.task import Done, Identity, Route, Write
from durable_graph._runtime.commit.busy import held, is_held, only_run
from durable_graph._runtime.commit.request_keys import acceptance, earlier_request, run_of_request
from durable_graph._runtime.commit.store import Stored, Unstored
from durable_graph._runtime.commit.thread import Opened, check_not_owned, open_thread
from durable_graph._runtime.commit.writer import EXIT, SYNC, Policy, open_writer
from durable_graph._runtime.entry.command import answer_beside, apply_command, command_parts, only_answers
from durable_graph._runtime.entry.new_branch import apply_command_to_fork, fork_at, fork_inside
from durable_graph._runtime.entry.resume import accept, input_step, resume
from durable_graph._runtime.events.sink import EventSink, Publication
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import wind_up
from durable_graph._runtime.request.control_flow import Draining
from durable_graph._runtime.request.namespaces import Place
from durable_graph._runtime.request.output import Ended, Recorded, Start
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.superstep.drive import drive
from durable_graph._runtime.superstep.publish import committed_events, publish_drained
from durable_graph._runtime.task.plan import StepPlan
from durable_graph._runtime.task.run_context import GraphRun, RunContext
from durable_graph._runtime.task.writes import input_writes
from durable_graph._runtime.threads.fork import is_at_head, levels_to
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.errors import (
    CheckpointConflictError,
    GraphDrained,
    InvalidOptionError,
    MissingCheckpointerError,
    NothingToResumeError,
    ThreadCancelledError,
    ThreadFinishedError,
    UnfinishedThreadError,
    UnknownNameError,
)
from durable_graph.errors.shown import add_note, shown
from durable_graph.graph import UNSET, Command, Topology
from durable_graph.records import RequestRow, ThreadRow, checkpoint_id


async def run_in_turn(
    plan: StepPlan, saver: Checkpointer | None, request: Request, sink: EventSink, cache: Cache | None = None
) -> Ended:
    """Run the graph, and return how the run ended. All its commits are settled in the store when this returns.

    The call holds its thread meanwhile: no other call of this process can run it. Two kinds of calls do not wait for
    the thread. Answers without anything else are recorded for the run of the call that holds it, and a repeated request
    whose run has ended returns its result.

    Raises `GraphDrained` if the run was drained, and `ThreadBusyError`.
    """
    thread_id = request.thread_id
    if saver is None or thread_id is None:
        return await _run_unstored(plan, request, sink, cache)
    call = StoredCall(plan, saver, request, thread_id, sink, cache)
    if request.key is not None and (ended := await _repeated_while_held(call, request.key)) is not None:
        return ended
    while (
        request.checkpoint is None
        and only_answers(call.request.input)
        and (moved := held(saver, thread_id)) is not None
    ):
        ended, answers = await _answer_while_held(call)
        if ended is not None:
            return ended
        call = msgspec.structs.replace(call, request=msgspec.structs.replace(request, input=answers))
        # The other call soon starts its run or ends, and `moved` is set then.
        await moved
    async with only_run(saver, thread_id, request.if_busy):
        return await _run_stored(call)


class StoredCall(msgspec.Struct, frozen=True):
    """A call of a graph on a thread of its checkpointer."""

    plan: StepPlan
    saver: Checkpointer
    request: Request
    thread_id: str
    sink: EventSink
    cache: Cache | None

    @property
    def topology(self) -> Topology:
        return self.plan.topology

    async def opened(self, no: int | None = None) -> Opened:
        opened = await open_thread(self.saver, self.topology, self.thread_id, no, self.request.owned)
        restored = opened.restored
        if restored is None or not (restored.recorded or has_delay(restored.state.plan)):
            return opened
        nothing, at = self.topology.argument.encode(None), self._microseconds()
        recorded = awoken(restored.recorded, moment_of(at), nothing)
        recorded = with_delays(restored.state.plan, recorded, at, origin=opened.thread.origin, ns="", nothing=nothing)
        return msgspec.structs.replace(opened, restored=msgspec.structs.replace(restored, recorded=recorded))

    def now(self) -> datetime:
        """The time: the store's for a run that a worker executes."""
        return moment_of(self._microseconds())

    def _microseconds(self) -> int:
        return RunContext(self.sink, self.request.owned).now()

    def on(self, opened: Opened) -> tuple[GraphRun, Stored]:
        """The call as a run on the thread as it was found, and its store."""
        request = self.request
        writer = open_writer(
            self.saver,
            opened.thread,
            _policy(request),
            grace=request.grace,
            metadata=request.metadata,
            calls_in=opened.calls_in,
            base=opened.base,
            run=request.owned,
        )
        store = Stored.of(writer, writer.namespace(self.topology, "", opened.restored))
        nodes = self.plan.for_run(request, has_cache=self.cache is not None)
        return GraphRun(
            self.topology, request, RunContext(self.sink, request.owned), store, nodes, cache=self.cache
        ), store


def _policy(request: Request) -> Policy:
    match request.durability:
        case "sync":
            return SYNC
        case "async":
            return Policy(waits=False, backlog=request.backlog)
        case "exit":
            return EXIT


async def _repeated_while_held(call: StoredCall, key: str) -> Ended | None:
    """The result of a request that the thread accepted before, while another call of this process holds the thread.

    None if no call holds it, the request is new, or its run has not ended. Raises `KeyReusedError`.
    """
    if not is_held(call.saver, call.thread_id):
        return None
    opened = await call.opened()
    keyed = acceptance(call.topology, key, call.request.input)
    earlier = await earlier_request(call.saver, call.thread_id, keyed) if opened.thread.version else None
    if earlier is None:
        return None
    run_of_it = await run_of_request(call.saver, call.topology, opened, earlier)
    return _ended_with(run_of_it.restored.state) if run_of_it.has_ended else None


async def _answer_while_held(call: StoredCall) -> tuple[Ended | None, Command]:
    opened = await call.opened()
    if opened.restored is None:
        raise NothingToResumeError(call.thread_id, "it has no checkpoint")
    check_not_cancelled(call.request, opened.thread)
    run, store = call.on(opened)
    restored = opened.restored
    return await answer_beside(run, store, restored.state, restored.recorded, call.request.input)


async def _run_stored(call: StoredCall) -> Ended:
    request, keyed = call.request, None
    opened = await call.opened(None if request.checkpoint_ns else request.checkpoint)
    if opened.unfinished_run:
        await check_not_owned(call.saver, opened)
    if request.checkpoint is not None and opened.restored is None:
        raise UnknownNameError.of_checkpoint(call.thread_id, checkpoint_id(request.checkpoint))
    if request.key is not None and not request.checkpoint_ns:
        keyed = acceptance(call.topology, request.key, request.input)
        earlier = await earlier_request(call.saver, call.thread_id, keyed) if opened.thread.version else None
        if earlier is not None:
            return await _repeated(call, opened, earlier)
    run, store = call.on(opened)
    sender = store.writer.sender
    sender.accepts = keyed
    try:
        return await execute(run, store, opened)
    except CheckpointConflictError:
        # `accepts` is None once a commit has accepted the request. Until then, another process may have sent the same
        # request first.
        if sender.accepts is None:
            raise
        earlier = await earlier_request(call.saver, call.thread_id, sender.accepts)
        if earlier is None:
            raise
    return await _repeated(call, await call.opened(), earlier)


async def _repeated(call: StoredCall, opened: Opened, earlier: RequestRow) -> Ended:
    """Return the result of a request that was accepted before, or resume its run if it has not ended.

    Raises `NothingToResumeError` if the result no longer exists.
    """
    run_of_it = await run_of_request(call.saver, call.topology, opened, earlier)
    if run_of_it.has_ended:
        return _ended_with(run_of_it.restored.state)
    resumed = msgspec.structs.replace(call.request, input=None, checkpoint=None)
    opened = msgspec.structs.replace(opened, restored=run_of_it.restored)
    run, store = msgspec.structs.replace(call, request=resumed).on(opened)
    ended = await execute(run, store, opened)
    return msgspec.structs.replace(ended, was_applied=False)


async def execute(run: GraphRun, store: Stored, opened: Opened) -> Ended:
    """Choose where to start, and run from there. The commits are settled when this returns or raises."""
    try:
        start = await (_dispatch_nested if run.request.checkpoint_ns else _dispatch)(run, store, opened)
        ended = start if isinstance(start, Ended) else await drive(run, start)
        _check_not_cancelled_meanwhile(store, ended)
    except BaseException as error:
        await _settle_after(run, store, error)
        if isinstance(error, Draining):
            raise await _drained(run) from error
        raise
    await store.settle()
    _check_not_cancelled_meanwhile(store, ended)
    return ended


async def _drained(run: GraphRun) -> GraphDrained:
    await publish_drained(run)
    control = run.request.control
    return GraphDrained((control.drain_reason if control is not None else None) or "shutdown")


def _check_not_cancelled_meanwhile(store: Stored, ended: Ended) -> None:
    if store.thread.is_cancelled and ended.state.plan:
        raise ThreadCancelledError(store.thread.id)


async def _settle_after(run: GraphRun, store: Stored, error: BaseException) -> None:
    """Settle the commits of a run that failed. If that fails too, add a note to the run's error, which is raised."""
    settling = store.settle()
    try:
        if not isinstance(error, asyncio.CancelledError):
            await settling
        elif not await wind_up(settling, run.request.grace):
            log.grace_is_over("the store's last call", run.request.grace)
    except Exception as later:
        if later is not error:
            add_note(error, f"the results of finished tasks could not be stored either: {shown(later)}")


async def _run_unstored(plan: StepPlan, request: Request, sink: EventSink, cache: Cache | None) -> Ended:
    if request.input is None:
        raise NothingToResumeError(None, "there is no checkpointer that could hold an earlier run")
    if isinstance(request.input, Command) and request.input.resume is not UNSET:
        what = "Command(resume=...)"
        raise MissingCheckpointerError(what)
    # A debugged run encodes as one with a store does: a test without a store finds what a store would refuse.
    limit = DEFAULT_MAX_VALUE_BYTES if request.is_checked else None
    store = Unstored(None, Identity("", 0), limit)
    nodes = plan.for_run(request, has_cache=cache is not None)
    run = GraphRun(plan.topology, request, RunContext(sink), store, nodes, cache=cache)
    try:
        return await drive(run, await accept_unstored(run))
    except Draining as drained:
        raise await _drained(run) from drained


async def accept_unstored(run: GraphRun) -> Start:
    """Accept an input without storing anything. Raises `MissingCheckpointerError` for breakpoints."""
    topology = run.topology
    if run.request.stop_before != frozenset() or run.request.stop_after != frozenset():
        # A run that stopped there could not be resumed.
        what = "a breakpoint (interrupt_before, interrupt_after)"
        raise MissingCheckpointerError(what)
    first = initial_state(topology)
    writes, routes = input_parts(run, first.values)
    admitted = admit(topology, first, {}, writes, run.store.reserve(first), routes)
    step = input_step(run, admitted, 0)
    await run.store.commit((), step, Publication(run.shared.sink, committed_events(run, step)))
    return Start(admitted.state)


def input_parts(run: GraphRun, values: Mapping[str, object]) -> tuple[tuple[Write, ...], tuple[Route, ...]]:
    """The input as writes, given these values, and as routes if it is a Command."""
    given = run.request.input
    if isinstance(given, Command):
        return command_parts(run, given, values)
    return input_writes(run.topology, given, values, run.store.max_value_bytes), ()


# Choosing where to start


async def _dispatch(run: GraphRun, store: Stored, opened: Opened) -> Start | Ended:
    """Start from the checkpoint of the call, with its input."""
    request, restored = run.request, opened.restored
    given = request.input
    check_not_cancelled(request, opened.thread)
    if restored is None:
        if isinstance(given, Command) and given.resume is not UNSET:
            raise NothingToResumeError(request.thread_id, "it has no checkpoint")
        # A claimed run that rolls back the thread's first run begins from an empty state, on a branch of its own.
        return await _accept(run, store, initial_state(run.topology), {}, 0 if opened.thread.head else None)
    is_fork = restored.state.no != opened.thread.head
    if not is_fork and (ended := _ended_before(request, restored.state)) is not None:
        return ended
    if isinstance(given, Command):
        if not is_fork:
            return await apply_command(run, store, restored.state, restored.recorded, given)
        fork = partial(fork_at, run, store, restored.state, restored.header)
        return await apply_command_to_fork(run, store, restored, given, fork)
    if given is None:
        return await _resume(run, store, restored, is_fork=is_fork)
    if is_fork:
        # The old branch keeps its unfinished tasks; the new branch starts with the input.
        emptied = State(restored.state.no, restored.state.step, restored.state.values, ())
        return await _accept(run, store, emptied, {}, restored.state.no)
    return await _accept_on_head(run, store, restored.state, restored.recorded)


async def _resume(run: GraphRun, store: Stored, restored: Restored, *, is_fork: bool) -> Start | Ended:
    """Resume at the head, or start a new branch from an older checkpoint. Raises `NothingToResumeError`."""
    thread_id, owned = store.thread.id, run.shared.owned
    check_plan(run.topology, thread_id, restored.state, {} if is_fork else restored.recorded)
    if not restored.state.plan:
        if owned is not None and owned.has_updates and not is_fork:
            # The updates were recorded during the last superstep.
            return Start(restored.state, {}, passes_breakpoint=True)
        if owned is not None and not owned.has_input and not is_fork:
            # They were discarded since.
            return Ended(restored.state, {}, restored.state.values)
        why = "its run is finished" if not is_fork else "nothing was left to run at that checkpoint"
        raise NothingToResumeError(thread_id, why)
    if is_fork:
        return await fork_at(run, store, restored.state, restored.header)
    return await resume(run, store, restored.state, restored.recorded)


def check_not_cancelled(request: Request, thread: ThreadRow) -> None:
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


async def _dispatch_nested(run: GraphRun, store: Stored, opened: Opened) -> Start | Ended:
    """Resume the run if the nested graph's checkpoint is its newest, else start a new branch from that checkpoint."""
    request, thread = run.request, store.thread
    given = request.input
    if given is not None and not isinstance(given, Command):
        option = "checkpoint_ns"
        raise InvalidOptionError(
            option, request.checkpoint_ns, allowed="'' with an input, which the outermost graph takes"
        )
    place = Place(thread.id, request.checkpoint_ns, request.checkpoint)
    if request.checkpoint is None or await is_at_head(thread.saver, place, opened.thread.head):
        return await _dispatch(run, store, opened)
    levels = await levels_to(run.topology, store.writer, place)
    for level in levels:
        check_plan(level.topology, thread.id, level.step.state)
    if not levels[-1].step.state.plan:
        raise NothingToResumeError(request.thread_id, "nothing was left to run at that checkpoint")
    if given is None:
        return await fork_inside(run, store, levels)
    return await apply_command_to_fork(run, store, levels[0].was, given, partial(fork_inside, run, store, levels))


async def _accept_on_head(run: GraphRun, store: Stored, state: State, recorded: Recorded) -> Start:
    """Accept new input on the thread's head. The caller's `if_unfinished` decides about an unfinished run."""
    request = run.request
    thread = request.thread_id or ""
    if state.plan and request.if_unfinished == "reject":
        pending = [task.node for task in state.plan if not isinstance(recorded.get(task.key), Done)]
        raise UnfinishedThreadError(thread, pending or [task.node for task in state.plan])
    if state.plan and request.if_unfinished == "resume":
        check_plan(run.topology, thread, state, recorded)
        # The input is read before anything runs: an invalid input is refused at once, not after the earlier run.
        input_writes(run.topology, request.input, state.values, run.store.max_value_bytes)
        # The earlier run is not part of this request, so its commits must not accept the request's key, even if one of
        # them fails.
        sender = store.writer.sender
        keyed, sender.accepts = sender.accepts, None
        owned, sender.run = sender.run, None
        ended = await drive(run, await resume(run, store, state, recorded))
        if owned is not None:
            # Updates are for the run of this input.
            owned.has_updates = True
        if ended.is_stopped:
            # The earlier run waits for an answer, and an input is not an answer.
            raise UnfinishedThreadError(thread, [task.node for task in ended.state.plan], is_stopped=True)
        await store.settle()
        state, recorded, sender.accepts, sender.run = ended.state, {}, keyed, owned
    return await _accept(run, store, state, recorded, None)


async def _accept(run: GraphRun, store: Stored, state: State, recorded: Recorded, fork_of: int | None) -> Start:
    """Commit the input. The same commit records the tasks that it supersedes."""
    request = run.request
    if request.input is None:
        raise NothingToResumeError(request.thread_id, "it has no checkpoint")
    writes, routes = input_parts(run, with_recorded(run.topology, state, recorded))
    while True:
        admitted = admit(run.topology, state, recorded, writes, store.reserve(state), routes)
        step = input_step(run, admitted, state.no, fork_of)
        adopted = await accept(run, store, state.plan, step)
        if adopted is None:
            break
        recorded = adopted
    if admitted.superseded:
        nodes = [each.node for each in admitted.superseded]
        log.tasks_superseded(request.thread_id, checkpoint_id(admitted.state.no), nodes)
    return Start(admitted.state)
