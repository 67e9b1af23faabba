"""One attempt at one task: call the node, read what it returned, let its routers choose."""

import asyncio
import time
from functools import partial
from typing import Any

import msgspec

from durable_graph._engine.state import State
from durable_graph._engine.task import (
    Answer,
    Ask,
    Done,
    Failed,
    Handling,
    Interrupted,
    Outcome,
    RoutingOpen,
    Task,
    answers_of,
    asks_of,
    following,
    next_revision,
)
from durable_graph._runtime.request.cancellation import cancellations, take_back_cancellations
from durable_graph._runtime.request.control_flow import GraphBubbleUp, GraphInterrupt, ParentCommand, unwrapped
from durable_graph._runtime.task.answers import Answers
from durable_graph._runtime.task.attempted import Attempted
from durable_graph._runtime.task.context import injected
from durable_graph._runtime.task.ending import check_all_claimed, returned, unwound
from durable_graph._runtime.task.invoke import Called, call_action, given_to, timeout_of
from durable_graph._runtime.task.lengths import Lengths, PrivateLengths
from durable_graph._runtime.task.mutation import check_argument_unchanged, check_result, compared
from durable_graph._runtime.task.observing import observed_attempt, with_result
from durable_graph._runtime.task.read_result import Result, read_result
from durable_graph._runtime.task.result_cache import remember, remembered
from durable_graph._runtime.task.route import choose, routers_of
from durable_graph._runtime.task.run_context import Scope, Session, current
from durable_graph._runtime.task.task_calls import Calls
from durable_graph._runtime.task.writes import encode_anything
from durable_graph.caching import CacheKey
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.errors import (
    NodeCancelledError,
    ParentCommandError,
    ReplayMismatchError,
    StalePlanError,
    StateMutatedError,
)
from durable_graph.errors.shown import read_back, shown
from durable_graph.graph import START, Command, Interrupt, Node
from durable_graph.graph.policies import NodeError


class Trial(msgspec.Struct):
    """What the attempts at one task in this process have in common."""

    first_started: float
    calls: Calls | None = None
    error: BaseException | None = None
    """What the node failed with, for its error handler."""
    handler_tries: int = 0
    pause: float = 0.0
    """Seconds until the error handler is tried again."""
    is_first: bool = True

    def calls_of(self, scope: Scope) -> Calls:
        """The calls of a new attempt. What an earlier one had recorded is known."""
        if self.calls is None or self.calls.ns != scope.ns:
            self.calls = Calls(scope.session, scope.ns, scope.task.born)
        self.calls.begin()
        return self.calls


def attempt_number(previous: Outcome | None) -> int:
    """Which attempt comes now. What goes on from an answer, or with the routers, belongs to the attempt before."""
    if previous is None:
        return 1
    return previous.attempt + 1 if isinstance(previous, Failed) else previous.attempt


def new_trial() -> Trial:
    """A task of which this process has not yet tried anything."""
    return Trial(time.time())


async def attempt(session: Session, state: State, task: Task, previous: Outcome | None, trial: Trial) -> Attempted:
    """Run the task, its error handler, or only its routers if its node is done already.

    Only a cancellation is raised, what unwinds more than the task, and what the store failed with meanwhile: code that
    called for it cannot have come to anything.
    """
    scope = _scope(session, state, task, previous, trial)
    perform = partial(_perform, scope, task, previous, trial)
    observer = session.run.observer
    token = current.set(scope)
    try:
        attempted = await (perform() if observer is None else observed_attempt(observer, scope, perform))
    finally:
        scope.is_over = True
        current.reset(token)
    session.shared.raise_store_failure()
    if previous is None:
        return attempted
    return Attempted(following(attempted.outcome, previous), attempted.error)


async def _perform(scope: Scope, task: Task, previous: Outcome | None, trial: Trial) -> Attempted:
    if isinstance(previous, RoutingOpen):
        own = Result(previous.writes, previous.routes)
        return await _choose(scope, task, previous, own, is_handled=previous.is_handled)
    if task.node == START:
        return await _choose(scope, task, previous, Result((), ()))
    return await _run_node(scope, task, previous, trial)


async def route_as(session: Session, state: State, task: Task, values: Any, trial: Trial) -> Attempted:
    """What the task would have come to had its node returned `values`: its routers run, the node does not.

    Raises what is wrong with the values.
    """
    scope = _scope(session, state, task, None, trial)
    token = current.set(scope)
    try:
        node = session.topology.nodes[task.node]
        own = read_result(session.topology, node, values, state.values, session.max_value_bytes)
        given = Lengths(session.topology, state)
        attempted = await _choose(scope, task, None, own)
        if changed := given.changed():
            raise StateMutatedError([task.node], changed)
        return attempted
    finally:
        scope.is_over = True
        current.reset(token)


def _scope(session: Session, state: State, task: Task, previous: Outcome | None, trial: Trial) -> Scope:
    journal = session.shared.journal
    answers = Answers(answers_of(previous), (ask.interrupt.id for ask in asks_of(previous)))
    is_first = trial.is_first and previous is None and task.born > session.resumed_at
    is_fresh = is_first and (journal is None or task.born > journal.opened_at)
    trial.is_first = False
    return Scope(
        session=session,
        state=state,
        task=task,
        within=session.ns,
        number=attempt_number(previous),
        answers=answers if session.parent is None else session.answered(),
        first_started=trial.first_started,
        metadata=session.topology.nodes[task.node].metadata if task.node != START else {},
        is_fresh=is_fresh,
        is_after_failure=attempt_number(previous) > 1,
        new_calls=trial.calls_of,
    )


# The node


async def _run_node(scope: Scope, task: Task, previous: Outcome | None, trial: Trial) -> Attempted:
    session, node = scope.session, scope.session.topology.nodes[task.node]
    is_handler = isinstance(previous, Handling)
    key: CacheKey | None = None
    being_cancelled = cancellations()
    try:
        if node.cache is not None and not is_handler:
            key, kept = await remembered(session, node, task, given_to(scope, task, node))
            if kept is not None:
                return await _choose(scope, task, previous, kept, is_cached=True)
        called, private = await _call(scope, task, node, previous, trial)
    except BaseException as error:
        found = await _ended_by(scope, error, being_cancelled)
        if not isinstance(found, ParentCommand):
            return _stopped(scope, task, previous, found)
        # A graph that the node ran hands this to it: it counts as what the node returned.
        called, private = Called(Command(update=found.command.update, goto=found.command.goto), None), None
    try:
        limit = session.max_value_bytes or (None if key is None else DEFAULT_MAX_VALUE_BYTES)
        keys = scope.keys_of_nested
        own = read_result(session.topology, node, called.result, scope.state.values, limit, keys)
        check_result(session, node, own, private, is_cached=key is not None)
    except ParentCommand:
        if session.parent is None:
            failure = ParentCommandError(task.node)
            return Attempted(_failed(scope, task, previous, failure), failure)
        raise
    except Exception as error:
        return Attempted(_failed(scope, task, previous, error), error)
    if key is not None:
        await remember(session, node, task, key, own)
    if called.cancelled is not None:
        return Attempted(_unrouted(node, scope, task, previous, own, is_handled=is_handler), called.cancelled)
    return await _choose(scope, task, previous, own, is_handled=is_handler)


async def _ended_by(scope: Scope, error: BaseException, being_cancelled: int) -> BaseException:
    """What unwound a node or its routers, once what they began has ended as well."""
    found = error
    if isinstance(error, BaseExceptionGroup):
        found = unwrapped(error)
        take_back_cancellations(being_cancelled)
    found = await unwound(scope, found)
    if isinstance(found, ParentCommand):
        # It stands for what the node returns.
        try:
            await check_all_claimed(scope)
        except ReplayMismatchError as mismatch:
            return mismatch
    return found


async def _call(
    scope: Scope, task: Task, node: Node, previous: Outcome | None, trial: Trial
) -> tuple[Called, PrivateLengths | None]:
    session = scope.session
    given = given_to(scope, task, node)
    extra = injected(scope, node.injected)
    action, is_async, timeout = node.action, node.is_async, timeout_of(task, node)
    if isinstance(previous, Handling):
        handler = node.error_handler
        if handler is None:
            where = "an error handler has to run, and this graph has none for node"
            raise StalePlanError(task.node, where=where, known=session.topology.nodes, lost="the error handler")
        scope.begin("handler", is_after_failure=previous.tries > 0)
        error = trial.error if trial.error is not None else read_back(previous.error)
        told = {"error": NodeError(task.node, error)}
        extra = injected(scope, handler.injected, told)
        action, is_async, timeout = handler.action, handler.is_async, handler.timeout
    # The state is common to all; a Send's argument is looked at with those of its siblings.
    is_instance = task.argument is None and not isinstance(given, dict) and not node.input.is_single
    private = PrivateLengths(node, given, scope.state.values) if is_instance else None
    with compared(session, node.name, scope.state.values, node.input.fields if task.argument is None else ()):
        called = await call_action(scope, partial(action, given, **extra), is_async, timeout)
        await returned(scope)
    if scope.observer is not None:
        called = with_result(scope.observer, called)
    if session.run.is_checked and task.argument is not None:
        check_argument_unchanged(session.topology, task.node, task.argument)
    return called, private


# What it came to


def _stopped(scope: Scope, task: Task, previous: Outcome | None, error: BaseException) -> Attempted:
    """An attempt that did not return. Raises what is not the task's own affair."""
    if isinstance(error, GraphInterrupt):
        return _interrupted(scope, task, previous, error)
    if isinstance(error, asyncio.CancelledError):
        if cancellations():
            raise error
        error = own_cancellation(task, error)
    if isinstance(error, GraphBubbleUp) or not isinstance(error, Exception):
        raise error
    return Attempted(_failed(scope, task, previous, error), error)


def _interrupted(scope: Scope, task: Task, previous: Outcome | None, error: GraphInterrupt) -> Attempted:
    try:
        asks = _asks(scope, error.interrupts)
    except Exception as unstorable:
        return Attempted(_failed(scope, task, previous, unstorable), unstorable)
    answers, revision = _answers(scope), next_revision(previous)
    if isinstance(previous, Handling):
        # It is the handler that asks: the node has failed for good.
        return Attempted(Handling(task, scope.number, previous.error, answers, revision, asks, previous.tries))
    return Attempted(Interrupted(task, scope.number, asks, answers, revision))


def _asks(scope: Scope, interrupts: tuple[Interrupt, ...]) -> tuple[Ask, ...]:
    session = scope.session
    return tuple(
        Ask(each, encode_anything(session.topology, each.value, "the value of an interrupt", session.max_value_bytes))
        for each in interrupts
    )


def _failed(scope: Scope, task: Task, previous: Outcome | None, error: BaseException) -> Outcome:
    if isinstance(previous, Handling):
        tries = previous.tries + 1
        return Handling(task, scope.number, previous.error, _answers(scope), next_revision(previous), tries=tries)
    # What the policy had given up on begins anew when somebody resumes the thread.
    tries = previous.tries if isinstance(previous, Failed) and previous.retry_at is not None else 0
    return Failed(
        task,
        scope.number,
        shown(error),
        tries=tries + 1,
        answers=_answers(scope),
        revision=next_revision(previous),
    )


def failed_instead(task: Task, number: int, previous: Outcome | None, error: BaseException) -> Attempted:
    """An attempt that came to nothing, or whose result does not count. A node that was done before runs no more."""
    revision = next_revision(previous)
    match previous:
        case RoutingOpen():
            failed: Outcome = msgspec.structs.replace(previous, error=shown(error), asks=(), revision=revision)
        case Handling():
            failed = msgspec.structs.replace(previous, asks=(), revision=revision)
        case _:
            failed = Failed(task, number, shown(error), tries=1, answers=answers_of(previous), revision=revision)
    return Attempted(following(failed, previous), error)


def _unrouted(
    node: Node, scope: Scope, task: Task, previous: Outcome | None, own: Result, *, is_handled: bool
) -> Outcome:
    revision = next_revision(previous)
    if node.routers and not is_handled:
        why = "cancelled before its routers ran"
        return RoutingOpen(task, scope.number, own.writes, why, own.routes, answers=_answers(scope), revision=revision)
    return Done(task, scope.number, own.writes, own.routes, is_handled, _answers(scope), revision)


def _answers(scope: Scope) -> tuple[Answer, ...]:
    """The answers that the task was given, for its next record: those of a nested task are with the outermost one."""
    return scope.answers.kept() if scope.session.parent is None else ()


# Routing


async def _choose(
    scope: Scope,
    task: Task,
    previous: Outcome | None,
    own: Result,
    *,
    is_handled: bool = False,
    is_cached: bool = False,
) -> Attempted:
    session, revision = scope.session, next_revision(previous)
    routers = () if is_handled else routers_of(session.topology, task)
    if not routers:
        return Attempted(
            Done(task, scope.number, own.writes, own.routes, is_handled, _answers(scope), revision, is_cached)
        )
    # What routers ask and call is counted apart: once the node is done, only they run again.
    tries = previous.tries if isinstance(previous, RoutingOpen) else 0
    scope.begin("router", is_after_failure=tries > 0)
    asks: tuple[Ask, ...] = ()
    failure: BaseException | None = None
    being_cancelled = cancellations()
    try:
        extra = {router.name: injected(scope, router.injected) for router in routers if router.injected}
        place = session.place(scope.state)
        fields = (key for router in routers for key in router.input.fields)
        with compared(session, task.node, scope.state.values, fields):
            limit = session.max_value_bytes
            routes = await choose(session.topology, scope.state, task, own.writes, extra, limit, place)
            await returned(scope)
        routed = (*own.routes, *routes)
        return Attempted(Done(task, scope.number, own.writes, routed, is_handled, _answers(scope), revision, is_cached))
    except BaseException as error:
        failure = await _ended_by(scope, error, being_cancelled)
    why: str | None = shown(failure)
    match failure:
        case GraphInterrupt():
            try:
                asks, failure, why = _asks(scope, failure.interrupts), None, None
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
    answers = _answers(scope)
    outcome = RoutingOpen(task, scope.number, own.writes, why, own.routes, asks, answers, is_handled, revision, tries)
    return Attempted(outcome, failure)


def own_cancellation(task: Task, error: asyncio.CancelledError) -> NodeCancelledError:
    """To let out a cancellation that nobody asked for would look like one of the whole run."""
    failure = NodeCancelledError(task.node)
    failure.__cause__ = error
    return failure
