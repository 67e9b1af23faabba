"""The end of a piece of user code: with the calls and graphs that it began."""

import asyncio
from typing import Any

from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.control_flow import Draining, GraphInterrupt
from durable_graph._runtime.task.run_context import TaskContext


def must_join(context: TaskContext) -> bool:
    """Whether there is anything for `join_children` to do. Most nodes call no task, no graph, and ask nothing."""
    if context.begun_tasks is not None or context.child_runs is not None or context.stopped_by:
        return True
    if context.mutation is not None or context.mismatch is not None:
        return True
    thread = context.run.store.thread
    return thread is not None and bool(thread.calls_in) and context.ns in thread.calls_in


async def join_children(context: TaskContext) -> None:
    """Wait for the calls and graphs that the code began and did not await. Raises their errors, and interrupts that the
    code caught."""
    await _all_over(context)
    context.raise_mutation()
    if context.mismatch is not None:
        raise context.mismatch
    if context.begun_tasks is not None:
        context.begun_tasks.raise_unawaited_failure()
    if context.stopped_by:
        raise _asking(context)
    await check_all_claimed(context)


async def check_all_claimed(context: TaskContext) -> None:
    """Raise `ReplayMismatchError` if the code ended without making a call that is recorded."""
    thread = context.run.store.thread
    if context.begun_tasks is not None or (thread is not None and context.ns in thread.calls_in):
        await context.calls.claims.check_all_claimed(context)


async def resolve_exit(context: TaskContext, error: BaseException) -> BaseException:
    """The error to report for code that `error` ended, once the calls and graphs that it began have ended as well.

    After an interrupt or a drain these run to their own end or interrupt. After any other error they are stopped.
    """
    if context.begun_tasks is not None:
        context.begun_tasks.mark_unwinding()
    if not isinstance(error, GraphInterrupt | Draining):
        await _stop(context)
    else:
        try:
            await _all_over(context)
        except asyncio.CancelledError:
            await _stop(context)
            raise
    if context.begun_tasks is not None and isinstance(error, Exception | GraphInterrupt):
        context.run.raise_store_failure()
        await context.begun_tasks.claims.settle_note()
    if context.mutation is not None and isinstance(error, Exception | GraphInterrupt):
        return context.mutation
    if context.mismatch is not None and isinstance(error, Exception | GraphInterrupt):
        return context.mismatch
    found: BaseException = error if context.begun_tasks is None else context.begun_tasks.failure_to_report(error)
    return _asking(context, found) if isinstance(found, GraphInterrupt) else found


def _begun(context: TaskContext) -> list[Any]:
    return [each for each in (context.begun_tasks, context.child_runs) if each is not None]


async def _all_over(context: TaskContext) -> None:
    # Code that waited for one of them may begin another one, of the other kind.
    while left := [each for each in _begun(context) if each.pending]:
        for each in left:
            await each.join()
    if context.child_runs is not None:
        context.child_runs.close()


async def _stop(context: TaskContext) -> None:
    if not (begun := _begun(context)):
        return
    for each in begun:
        each.stop()
    await finish(_all_over(context), context.run.request.grace)


def _asking(context: TaskContext, *last: GraphInterrupt) -> GraphInterrupt:
    """All interrupts that the code raised, each once."""
    asked = (*context.stopped_by, *(error.interrupts for error in last))
    return GraphInterrupt({each.id: each for interrupts in asked for each in interrupts}.values())
