"""One run at a time on a thread, inside this process. Between processes the store's compare-and-swap decides."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from durable_graph._runtime.request.run import IfBusy
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import ThreadBusyError, ThreadCancelledError


@dataclass(slots=True, eq=False)
class _Claim:
    """A call that wants the thread. The oldest claim has it.

    `turn` is set when it is its turn; `runner` is then the asyncio task of the call. `is_of_run`: a worker executes a
    run. `is_cancelled`: the thread was cancelled meanwhile. `waiting` are set when the call stores something, or ends.
    """

    loop: asyncio.AbstractEventLoop
    turn: "asyncio.Future[None]"
    is_of_run: bool = False
    runner: "asyncio.Task[object] | None" = None
    is_cancelled: bool = False
    waiting: "list[asyncio.Future[None]]" = field(default_factory=list)


_lock = threading.Lock()
"""For event loops in several threads, which may share a saver in memory."""

_waiting: "set[asyncio.Future[None]]" = set()
"""All that wait for a call to store something: mostly none, and then a call that does need not look for its claim."""

_claims: WeakKeyDictionary[Checkpointer, dict[str, list[_Claim]]] = WeakKeyDictionary()


@asynccontextmanager
async def only_run(
    saver: Checkpointer | None, thread_id: str | None, if_busy: IfBusy | None, *, is_of_run: bool = False
) -> AsyncIterator[None]:
    """Hold the thread while the body runs. Waiting calls take turns in the order in which they came. `is_of_run`: the
    body executes a run that a worker has claimed.

    Raises `ThreadBusyError` if another call holds it and `if_busy` is "reject", or None: a call without that option.
    Raises `ThreadCancelledError` if the thread is cancelled while the body runs.
    """
    if saver is None or thread_id is None:
        yield
        return
    runner = asyncio.current_task()
    if runner is None:
        # Nothing could cancel the call, nor take a cancellation back.
        message = "a run needs an asyncio task: await it in a coroutine that the event loop runs as a task"
        raise RuntimeError(message)
    loop = asyncio.get_running_loop()
    claim = _Claim(loop, loop.create_future(), is_of_run)
    with _lock:
        claims = _living(saver, thread_id)
        if claims and if_busy != "wait":
            raise ThreadBusyError(thread_id, can_wait=if_busy is not None)
        claims.append(claim)
        is_first = claims[0] is claim
    cancellations = runner.cancelling()
    try:
        if not is_first:
            await claim.turn
        claim.runner = runner
        yield
    except asyncio.CancelledError:
        if not claim.is_cancelled or runner.cancelling() > cancellations + 1:
            # The caller is cancelled, perhaps as well.
            raise
        raise ThreadCancelledError(thread_id) from None
    finally:
        claim.runner = None
        if claim.is_cancelled:
            # It was `cancel_call` that stopped the call: that is no cancellation of its caller.
            runner.uncancel()
        with _lock:
            _give_up(saver, thread_id, claim)


def held(saver: Checkpointer | None, thread_id: str | None) -> "asyncio.Future[None] | None":
    """What is set once the call of this process that has the thread stores something or ends; None if no call has it.

    A caller that asks for it before it reads the thread misses nothing that is stored later.
    """
    if saver is None or thread_id is None:
        return None
    with _lock:
        claims = _claims.get(saver, {}).get(thread_id)
        if not claims:
            return None
        moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        claims[0].waiting.append(moved)
        _waiting.add(moved)
        return moved


def is_held(saver: Checkpointer, thread_id: str) -> bool:
    """Whether a call of this process has the thread."""
    with _lock:
        return bool(_claims.get(saver, {}).get(thread_id))


def is_held_by_run(saver: Checkpointer, thread_id: str) -> bool:
    """Whether a worker of this process that executes a run has the thread, perhaps for a moment after the run's end."""
    with _lock:
        claims = _claims.get(saver, {}).get(thread_id)
        return claims[0].is_of_run if claims else False


def has_written(saver: Checkpointer, thread_id: str) -> None:
    """A run of this process has stored something in the thread."""
    if not _waiting:
        return
    with _lock:
        claims = _claims.get(saver, {}).get(thread_id)
        if claims:
            _wake(claims[0])


def cancel_call(saver: Checkpointer, thread_id: str) -> None:
    """Stop the call of this process that has the thread, which was cancelled."""
    with _lock:
        claims = _claims.get(saver, {}).get(thread_id)
        claim = claims[0] if claims else None
        if claim is not None and claim.runner is not None and claim.runner is not asyncio.current_task():
            with suppress(RuntimeError):
                claim.loop.call_soon_threadsafe(_stop, claim)


def _stop(claim: _Claim) -> None:
    """Cancel the task that makes a call, unless the call is over: what the task does now is none of it."""
    if claim.runner is not None and not claim.is_cancelled:
        claim.is_cancelled = True
        claim.runner.cancel()


def _living(saver: Checkpointer, thread_id: str) -> list[_Claim]:
    """The claims on the thread. A loop that was closed in the middle of a call has left its claim behind."""
    claims = _claims.setdefault(saver, {}).setdefault(thread_id, [])
    for claim in [claim for claim in claims if claim.loop.is_closed()]:
        claims.remove(claim)
        _wake(claim)
    return claims


def _give_up(saver: Checkpointer, thread_id: str, claim: _Claim) -> None:
    claims = _living(saver, thread_id)
    if claim in claims:
        claims.remove(claim)
    _wake(claim)
    if not claims:
        del _claims[saver][thread_id]
        return
    for first in claims:
        if _set(first.turn):
            return


def _wake(claim: _Claim) -> None:
    waiting, claim.waiting = claim.waiting, []
    _waiting.difference_update(waiting)
    for moved in waiting:
        _set(moved)


def _set(future: "asyncio.Future[None]") -> bool:
    """Set a future of any thread's event loop. Whether it could be: a loop may be closed at this very moment."""
    with suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(_set_here, future)
        return True
    return False


def _set_here(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
