"""One attempt at one task: call the node, read what it returned, let its routers choose."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from durable_graph._engine.state import State
from durable_graph._engine.task import (
    Answer,
    Done,
    Failed,
    Handling,
    Interrupted,
    Outcome,
    PendingInterrupt,
    RoutingOpen,
    Task,
    answers_of,
    following,
    interrupts_of,
    next_revision,
)
from durable_graph._runtime.request.cancellation import cancellations, take_back_cancellations
from durable_graph._runtime.request.control_flow import GraphBubbleUp, GraphInterrupt, ParentCommand, unwrapped
from durable_graph._runtime.task.answers import Answers
from durable_graph._runtime.task.attempted import TaskOutput
from durable_graph._runtime.task.context import injected
from durable_graph._runtime.task.ending import check_all_claimed, join_children, must_join, resolve_exit
from durable_graph._runtime.task.invoke import Returned, given_to, invoke, timeout_of
from durable_graph._runtime.task.lengths import Lengths, PrivateLengths
from durable_graph._runtime.task.mutation import check_argument_unchanged, check_result, compared
from durable_graph._runtime.task.observing import observed_attempt, with_result
from durable_graph._runtime.task.read_result import Result, read_result
from durable_graph._runtime.task.result_cache import lookup, put
from durable_graph._runtime.task.route import choose, routers_of
from durable_graph._runtime.task.run_context import GraphRun, TaskContext, current
from durable_graph._runtime.task.task_calls import TaskJournal
from durable_graph._runtime.task.writes import encode_anything
from durable_graph.caching import CacheKey
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.errors import (
    GraphChangedError,
    InvalidNodeResultError,
    NodeCancelledError,
    ReplayMismatchError,
    StateMutatedError,
)
from durable_graph.errors.shown import read_back, shown
from durable_graph.graph import START, Command, Interrupt, Node
from durable_graph.graph.policies import NodeError, TimeoutPolicy


class AttemptState(msgspec.Struct):
    """The state that all attempts at one task in this process share."""

    first_started: float
    calls: TaskJournal | None = None
    error: BaseException | None = None
    """The node's error, for its error handler."""
    handler_tries: int = 0
    pause: float = 0.0
    """Seconds until the error handler is tried again."""
    is_first: bool = True

    def calls_of(self, context: TaskContext) -> TaskJournal:
        """The calls of a new attempt, with the records of earlier attempts."""
        if self.calls is None or self.calls.ns != context.ns:
            self.calls = TaskJournal(context.run, context.ns, context.task.born)
        self.calls.begin()
        return self.calls


def attempt_number(previous: Outcome | None) -> int:
    """The number of the next attempt. One that continues after an answer, or with the routers, keeps the number."""
    if previous is None:
        return 1
    return previous.attempt + 1 if isinstance(previous, Failed) else previous.attempt


def new_attempt_state() -> AttemptState:
    """A task of which this process has not yet tried anything."""
    return AttemptState(time.time())


async def attempt(run: GraphRun, state: State, task: Task, previous: Outcome | None, trial: AttemptState) -> TaskOutput:
    """Run the task, its error handler, or only its routers if its node is done already.

    Only a cancellation is raised, what unwinds more than the task, and what the store failed with meanwhile: code that
    called for it cannot have come to anything.
    """
    context = _task_context(run, state, task, previous, trial)
    observer = run.request.observer
    token = current.set(context)
    try:
        if observer is None:
            attempted = await _perform(context, task, previous, trial)
        else:
            perform = partial(_perform, context, task, previous, trial)
            attempted = await observed_attempt(observer, context, perform)
    finally:
        context.is_over = True
        current.reset(token)
    if run.shared.journal is not None:
        run.shared.raise_store_failure()
    if previous is None:
        return attempted
    return TaskOutput(following(attempted.outcome, previous), attempted.error)


async def _perform(context: TaskContext, task: Task, previous: Outcome | None, trial: AttemptState) -> TaskOutput:
    if isinstance(previous, RoutingOpen):
        own = Result(previous.writes, previous.routes)
        return await _choose(context, task, previous, own, is_handled=previous.is_handled)
    if task.node == START:
        return await _choose(context, task, previous, Result((), ()))
    return await _run_node(context, task, previous, trial)


async def route_as(run: GraphRun, state: State, task: Task, values: Any, trial: AttemptState) -> TaskOutput:
    """The output that the task would have if its node had returned `values`: the routers run, the node does not.

    Raises what is wrong with the values.
    """
    context = _task_context(run, state, task, None, trial)
    token = current.set(context)
    try:
        node = run.topology.nodes[task.node]
        own = read_result(run.topology, node, values, state.values, run.max_value_bytes)
        given = Lengths(run.topology, state)
        attempted = await _choose(context, task, None, own)
        if changed := given.changed():
            raise StateMutatedError([task.node], changed)
        return attempted
    finally:
        context.is_over = True
        current.reset(token)


def _task_context(
    run: GraphRun, state: State, task: Task, previous: Outcome | None, trial: AttemptState
) -> TaskContext:
    journal = run.shared.journal
    if run.parent is not None:
        answers = run.answered()
    elif previous is None:
        answers = Answers()
    else:
        answers = Answers(answers_of(previous), (ask.interrupt.id for ask in interrupts_of(previous)))
    number = attempt_number(previous)
    is_first = trial.is_first and previous is None and task.born > run.resumed_at
    is_fresh = is_first and (journal is None or task.born > journal.opened_at)
    trial.is_first = False
    return TaskContext(
        run=run,
        state=state,
        task=task,
        within=run.ns,
        number=number,
        answers=answers,
        first_started=trial.first_started,
        metadata=run.topology.nodes[task.node].metadata if task.node != START else {},
        is_fresh=is_fresh,
        is_after_failure=number > 1,
        new_task_journal=trial.calls_of,
    )


# The node


async def _run_node(context: TaskContext, task: Task, previous: Outcome | None, trial: AttemptState) -> TaskOutput:
    run, node = context.run, context.run.topology.nodes[task.node]
    is_handler = isinstance(previous, Handling)
    key: CacheKey | None = None
    being_cancelled = cancellations()
    try:
        if node.cache is not None and not is_handler:
            key, kept = await lookup(run, node, task, given_to(context, task, node))
            if kept is not None:
                return await _choose(context, task, previous, kept, is_cached=True)
        called, private = await _call(context, task, node, previous, trial)
    except BaseException as error:
        found = await _ended_by(context, error, being_cancelled)
        if not isinstance(found, ParentCommand):
            return _stopped(context, task, previous, found)
        # A graph that the node ran hands this to it: it counts as what the node returned.
        called, private = Returned(Command(update=found.command.update, goto=found.command.goto), None), None
    try:
        limit = run.max_value_bytes or (None if key is None else DEFAULT_MAX_VALUE_BYTES)
        keys = context.keys_of_nested
        own = read_result(run.topology, node, called.result, context.state.values, limit, keys)
        check_result(run, node, own, private, is_cached=key is not None)
    except ParentCommand as left:
        if run.parent is None:
            failure = InvalidNodeResultError.of_parent(task.node, left.command)
            return TaskOutput(_failed(context, task, previous, failure), failure)
        raise
    except Exception as error:
        return TaskOutput(_failed(context, task, previous, error), error)
    if key is not None:
        await put(run, node, task, key, own)
    if called.cancelled is not None:
        return TaskOutput(_unrouted(node, context, task, previous, own, is_handled=is_handler), called.cancelled)
    return await _choose(context, task, previous, own, is_handled=is_handler)


async def _ended_by(context: TaskContext, error: BaseException, being_cancelled: int) -> BaseException:
    """The error that a node or its routers ended with, once the calls and graphs that they began have ended as well."""
    found = error
    if isinstance(error, BaseExceptionGroup):
        found = unwrapped(error)
        take_back_cancellations(being_cancelled)
    found = await resolve_exit(context, found)
    if isinstance(found, ParentCommand):
        # It stands for what the node returns.
        try:
            await check_all_claimed(context)
        except ReplayMismatchError as mismatch:
            return mismatch
    return found


async def _call(
    context: TaskContext, task: Task, node: Node, previous: Outcome | None, trial: AttemptState
) -> tuple[Returned, PrivateLengths | None]:
    run = context.run
    given = given_to(context, task, node)
    extra = injected(context, node.injected) if node.injected else {}
    action, is_async = node.action, node.is_async
    timeout = node.timeout if task.limits is None else timeout_of(task.limits)
    if isinstance(previous, Handling):
        handler = node.error_handler
        if handler is None:
            raise GraphChangedError.of_plan(
                task.node,
                why="an error handler has to run, and this graph has none for node",
                known=run.topology.nodes,
                thread_id=run.request.thread_id,
                kind="handler",
            )
        context.begin("handler", is_after_failure=previous.tries > 0)
        error = trial.error if trial.error is not None else read_back(previous.error)
        told = {"error": NodeError(task.node, error)}
        extra = injected(context, handler.injected, told)
        action, is_async, timeout = handler.action, handler.is_async, handler.timeout
    # The state is common to all; a Send's argument is looked at with those of its siblings.
    is_instance = task.argument is None and not isinstance(given, dict) and not node.input.is_single
    private = PrivateLengths(node, given, context.state.values) if is_instance else None
    call = partial(action, given, **extra)
    if run.request.is_checked:
        with compared(run, node.name, context.state.values, node.input.fields if task.argument is None else ()):
            called = await _call_to_its_end(context, call, is_async, timeout)
    else:
        called = await _call_to_its_end(context, call, is_async, timeout)
    if context.observer is not None:
        called = with_result(context.observer, called)
    if run.request.is_checked and task.argument is not None:
        check_argument_unchanged(run.topology, task.node, task.argument)
    return called, private


async def _call_to_its_end(
    context: TaskContext, call: Callable[[], Any], is_async: bool, policy: TimeoutPolicy | None
) -> Returned:
    called = await invoke(context, call, is_async, policy)
    if must_join(context):
        await join_children(context)
    return called


# The outcome


def _stopped(context: TaskContext, task: Task, previous: Outcome | None, error: BaseException) -> TaskOutput:
    """An attempt that did not return. Raises what is not the task's own affair."""
    if isinstance(error, GraphInterrupt):
        return _interrupted(context, task, previous, error)
    if isinstance(error, asyncio.CancelledError):
        if cancellations():
            raise error
        error = own_cancellation(task, error)
    if isinstance(error, GraphBubbleUp) or not isinstance(error, Exception):
        raise error
    return TaskOutput(_failed(context, task, previous, error), error)


def _interrupted(context: TaskContext, task: Task, previous: Outcome | None, error: GraphInterrupt) -> TaskOutput:
    try:
        asks = _asks(context, error.interrupts)
    except Exception as unstorable:
        return TaskOutput(_failed(context, task, previous, unstorable), unstorable)
    answers, revision = _answers(context), next_revision(previous)
    if isinstance(previous, Handling):
        # It is the handler that asks: the node has failed for good.
        return TaskOutput(Handling(task, context.number, previous.error, answers, revision, asks, previous.tries))
    return TaskOutput(Interrupted(task, context.number, asks, answers, revision))


def _asks(context: TaskContext, interrupts: tuple[Interrupt, ...]) -> tuple[PendingInterrupt, ...]:
    run = context.run
    return tuple(
        PendingInterrupt(
            each, encode_anything(run.topology, each.value, "the value of an interrupt", run.max_value_bytes)
        )
        for each in interrupts
    )


def _failed(context: TaskContext, task: Task, previous: Outcome | None, error: BaseException) -> Outcome:
    if isinstance(previous, Handling):
        tries = previous.tries + 1
        return Handling(task, context.number, previous.error, _answers(context), next_revision(previous), tries=tries)
    # A resume of the thread starts the policy's count again.
    tries = previous.tries if isinstance(previous, Failed) and previous.retry_at is not None else 0
    return Failed(
        task,
        context.number,
        shown(error),
        tries=tries + 1,
        answers=_answers(context),
        revision=next_revision(previous),
    )


def failed_instead(task: Task, number: int, previous: Outcome | None, error: BaseException) -> TaskOutput:
    """A failed attempt in place of one without a result, or whose result does not count. A finished node stays done."""
    revision = next_revision(previous)
    match previous:
        case RoutingOpen():
            failed: Outcome = msgspec.structs.replace(previous, error=shown(error), asks=(), revision=revision)
        case Handling():
            failed = msgspec.structs.replace(previous, asks=(), revision=revision)
        case _:
            failed = Failed(task, number, shown(error), tries=1, answers=answers_of(previous), revision=revision)
    return TaskOutput(following(failed, previous), error)


def _unrouted(
    node: Node, context: TaskContext, task: Task, previous: Outcome | None, own: Result, *, is_handled: bool
) -> Outcome:
    revision = next_revision(previous)
    if node.routers and not is_handled:
        why = "cancelled before its routers ran"
        return RoutingOpen(
            task, context.number, own.writes, why, own.routes, answers=_answers(context), revision=revision
        )
    return Done(task, context.number, own.writes, own.routes, is_handled, _answers(context), revision)


def _answers(context: TaskContext) -> tuple[Answer, ...]:
    """The answers that the task was given, for its next record: those of a nested task are with the outermost one."""
    return context.answers.kept() if context.run.parent is None and context.answers else ()


# Routing


async def _choose(
    context: TaskContext,
    task: Task,
    previous: Outcome | None,
    own: Result,
    *,
    is_handled: bool = False,
    is_cached: bool = False,
) -> TaskOutput:
    run, revision = context.run, next_revision(previous)
    routers = () if is_handled else routers_of(run.topology, task)
    if not routers:
        return TaskOutput(
            Done(task, context.number, own.writes, own.routes, is_handled, _answers(context), revision, is_cached)
        )
    # The interrupts and calls of routers are counted on their own: once the node is done, only the routers run again.
    tries = previous.tries if isinstance(previous, RoutingOpen) else 0
    context.begin("router", is_after_failure=tries > 0)
    asks: tuple[PendingInterrupt, ...] = ()
    failure: BaseException | None = None
    being_cancelled = cancellations()
    try:
        extra = {router.name: injected(context, router.injected) for router in routers if router.injected}
        place = run.place(context.state)
        fields = (key for router in routers for key in router.input.fields)
        with compared(run, task.node, context.state.values, fields):
            limit = run.max_value_bytes
            routes = await choose(run.topology, context.state, task, own.writes, extra, limit, place)
            if must_join(context):
                await join_children(context)
        routed = (*own.routes, *routes)
        return TaskOutput(
            Done(task, context.number, own.writes, routed, is_handled, _answers(context), revision, is_cached)
        )
    except BaseException as error:
        failure = await _ended_by(context, error, being_cancelled)
    why: str | None = shown(failure)
    match failure:
        case GraphInterrupt():
            try:
                asks, failure, why = _asks(context, failure.interrupts), None, None
            except Exception as unstorable:
                failure, why = unstorable, shown(unstorable)
        case asyncio.CancelledError() if cancellations():
            why = "cancelled while its routers ran"
        case asyncio.CancelledError():
            failure = own_cancellation(task, failure)
            why = shown(failure)
        case Exception():
            tries += 1
        case _:
            raise failure
    answers = _answers(context)
    outcome = RoutingOpen(task, context.number, own.writes, why, own.routes, asks, answers, is_handled, revision, tries)
    return TaskOutput(outcome, failure)


def own_cancellation(task: Task, error: asyncio.CancelledError) -> NodeCancelledError:
    """The failure for a cancellation that no caller requested. Raised as it is, it would look like one of the run."""
    failure = NodeCancelledError(task.node)
    failure.__cause__ = error
    return failure
