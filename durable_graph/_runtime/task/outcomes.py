"""The output of an attempt: what an error, an interrupt or a cancellation makes of a task."""

import asyncio

import msgspec

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
    next_revision,
)
from durable_graph._runtime.request.cancellation import cancellations, take_back_cancellations
from durable_graph._runtime.request.control_flow import GraphBubbleUp, GraphInterrupt, ParentCommand, unwrapped
from durable_graph._runtime.task.answers import NO_ANSWERS
from durable_graph._runtime.task.ending import check_all_claimed, resolve_exit
from durable_graph._runtime.task.invoke import exit_of
from durable_graph._runtime.task.read_result import Result
from durable_graph._runtime.task.run_context import TaskContext, TaskOutput
from durable_graph._runtime.task.writes import encode_anything
from durable_graph.errors import NodeCancelledError, ReplayMismatchError
from durable_graph.errors.shown import shown
from durable_graph.graph import UNSET, Interrupt


async def ended_by(context: TaskContext, error: BaseException, being_cancelled: int) -> BaseException:
    """The error that user code ended with, once the calls and graphs that it began have ended as well."""
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


def stopped(context: TaskContext, previous: Outcome | None, error: BaseException) -> TaskOutput:
    """The output of an attempt that did not return. Raises what is not the task's own affair."""
    if isinstance(error, GraphInterrupt):
        return _interrupted(context, previous, error)
    if isinstance(error, asyncio.CancelledError):
        if cancellations():
            raise error
        error = own_cancellation(context.task, error)
    if isinstance(error, SystemExit) and context.run.request.owned is not None:
        error = exit_of(context.node, error)
    if isinstance(error, GraphBubbleUp) or not isinstance(error, Exception):
        raise error
    return failed(context, previous, error)


def done(
    context: TaskContext, previous: Outcome | None, own: Result, *, is_handled: bool, is_cached: bool = False
) -> Done:
    """The outcome of a node that returned."""
    revision = 1 if previous is None else previous.revision + 1
    answers = () if context.answers is NO_ANSWERS else answers_given(context)
    return Done(context.task, context.number, own.writes, own.routes, is_handled, answers, revision, is_cached)


def _interrupted(context: TaskContext, previous: Outcome | None, error: GraphInterrupt) -> TaskOutput:
    try:
        asks = encoded_interrupts(context, error.interrupts)
    except Exception as unstorable:
        return failed(context, previous, unstorable)
    answers, revision = answers_given(context), next_revision(previous)
    if isinstance(previous, Handling):
        # The handler is interrupted: the node has failed for good.
        return TaskOutput(
            Handling(context.task, context.number, previous.error, answers, revision, asks, previous.tries)
        )
    return TaskOutput(Interrupted(context.task, context.number, asks, answers, revision))


def encoded_interrupts(context: TaskContext, interrupts: tuple[Interrupt, ...]) -> tuple[PendingInterrupt, ...]:
    """The interrupts with the bytes of their values. Raises `UnstorableValueError`, `ValueTooLargeError`."""
    topology, most = context.run.topology, context.run.store.max_value_bytes
    return tuple(
        PendingInterrupt(
            each,
            encode_anything(topology, each.value, "the value of an interrupt", most),
            None
            if each.default is UNSET
            else encode_anything(topology, each.default, "the default answer of an interrupt", most),
        )
        for each in interrupts
    )


def failed(context: TaskContext, previous: Outcome | None, error: BaseException) -> TaskOutput:
    """The output of an attempt of the node, or of its error handler, that failed."""
    answers, revision = answers_given(context), next_revision(previous)
    if isinstance(previous, Handling):
        tries = previous.tries + 1
        handling = Handling(context.task, context.number, previous.error, answers, revision, tries=tries)
        return TaskOutput(handling, error)
    # A resume of the thread starts the policy's count again.
    tries = previous.tries if isinstance(previous, Failed) and previous.retry_at is not None else 0
    outcome = Failed(context.task, context.number, shown(error), tries=tries + 1, answers=answers, revision=revision)
    return TaskOutput(outcome, error)


def failed_instead(task: Task, number: int, previous: Outcome | None, error: BaseException) -> TaskOutput:
    """A failed attempt in place of one without a result, or whose result does not count. A finished node stays done."""
    revision = next_revision(previous)
    match previous:
        case RoutingOpen():
            outcome: Outcome = msgspec.structs.replace(previous, error=shown(error), asks=(), revision=revision)
        case Handling():
            outcome = msgspec.structs.replace(previous, asks=(), revision=revision)
        case _:
            outcome = Failed(task, number, shown(error), tries=1, answers=answers_of(previous), revision=revision)
    return TaskOutput(following(outcome, previous), error)


def answers_given(context: TaskContext) -> tuple[Answer, ...]:
    """The answers that the task was given, for its next record: those of a nested task are with the outermost one."""
    return context.answers.kept() if context.run.parent is None and context.answers else ()


def own_cancellation(task: Task, error: asyncio.CancelledError) -> NodeCancelledError:
    """The failure for a cancellation that no caller requested. Raised as it is, it would look like one of the run."""
    failure = NodeCancelledError(task.node)
    failure.__cause__ = error
    return failure
