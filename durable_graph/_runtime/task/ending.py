"""How a piece of user code ends: together with what it began."""

import asyncio
from typing import Any

from durable_graph._runtime.request.cancellation import finish
from durable_graph._runtime.request.control_flow import Draining, GraphInterrupt
from durable_graph._runtime.task.run_context import Scope


async def returned(scope: Scope) -> None:
    """The code returned: what it began has to end as well. Raises what that raised, and questions it caught."""
    await _all_over(scope)
    scope.raise_mutation()
    if scope.mismatch is not None:
        raise scope.mismatch
    if scope.begun_calls is not None:
        scope.begun_calls.raise_unasked()
    if scope.stopped_by:
        raise _asking(scope)
    await check_all_claimed(scope)


async def check_all_claimed(scope: Scope) -> None:
    """The code came to its end. Raises `ReplayMismatchError` where it did not make a call that is recorded."""
    journal = scope.session.shared.journal
    if scope.begun_calls is not None or (journal is not None and scope.ns in journal.calls_in):
        await scope.calls.claims.check_all_claimed(scope)


async def unwound(scope: Scope, error: BaseException) -> BaseException:
    """What the code came to with `error`, once what it began has ended as well.

    Where it asks, or is to go on later, that goes on to its own end or question. Otherwise it is stopped.
    """
    if scope.begun_calls is not None:
        scope.begun_calls.unwinding()
    if not isinstance(error, GraphInterrupt | Draining):
        await _stop(scope)
    else:
        try:
            await _all_over(scope)
        except asyncio.CancelledError:
            await _stop(scope)
            raise
    if scope.begun_calls is not None and isinstance(error, Exception | GraphInterrupt):
        scope.session.shared.raise_store_failure()
        await scope.begun_calls.claims.settle_note()
    if scope.mutation is not None and isinstance(error, Exception | GraphInterrupt):
        return scope.mutation
    if scope.mismatch is not None and isinstance(error, Exception | GraphInterrupt):
        return scope.mismatch
    found: BaseException = error if scope.begun_calls is None else scope.begun_calls.came_to(error)
    return _asking(scope, found) if isinstance(found, GraphInterrupt) else found


def _begun(scope: Scope) -> list[Any]:
    return [each for each in (scope.begun_calls, scope.begun_graphs) if each is not None]


async def _all_over(scope: Scope) -> None:
    # Code that waited for one of them may begin another one, of the other kind.
    while left := [each for each in _begun(scope) if each.are_left]:
        for each in left:
            await each.over()
    if scope.begun_graphs is not None:
        scope.begun_graphs.close()


async def _stop(scope: Scope) -> None:
    if not (begun := _begun(scope)):
        return
    for each in begun:
        each.stop()
    await finish(_all_over(scope), scope.session.run.grace)


def _asking(scope: Scope, *last: GraphInterrupt) -> GraphInterrupt:
    """All that it was to be unwound by, once."""
    return GraphInterrupt({each.id: each for error in (*scope.stopped_by, *last) for each in error.interrupts}.values())
