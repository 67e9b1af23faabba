"""One run at a time on a thread, inside this process. Between processes the store's compare-and-swap decides."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from durable_graph._runtime.run import IfBusy
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import ThreadBusyError


@dataclass(slots=True, eq=False)
class _Claim:
    """A call that wants the thread. The oldest claim has it."""

    loop: asyncio.AbstractEventLoop
    turn: "asyncio.Future[None]"


_lock = threading.Lock()
"""For event loops in several threads, which may share a saver in memory."""

_claims: WeakKeyDictionary[Checkpointer, dict[str, list[_Claim]]] = WeakKeyDictionary()


@asynccontextmanager
async def only_run(saver: Checkpointer | None, thread_id: str | None, if_busy: IfBusy | None) -> AsyncIterator[None]:
    """Hold the thread while the body runs. Waiting calls take turns in the order in which they came.

    Raises `ThreadBusyError` if another call holds it and `if_busy` is "reject", or None: a call without that option.
    """
    if saver is None or thread_id is None:
        yield
        return
    loop = asyncio.get_running_loop()
    claim = _Claim(loop, loop.create_future())
    with _lock:
        claims = _living(saver, thread_id)
        if claims and if_busy != "wait":
            raise ThreadBusyError(thread_id, can_wait=if_busy is not None)
        claims.append(claim)
        is_first = claims[0] is claim
    try:
        if not is_first:
            await claim.turn
        yield
    finally:
        with _lock:
            _give_up(saver, thread_id, claim)


def _living(saver: Checkpointer, thread_id: str) -> list[_Claim]:
    """The claims on the thread. A loop that was closed in the middle of a call has left its claim behind."""
    claims = _claims.setdefault(saver, {}).setdefault(thread_id, [])
    claims[:] = [claim for claim in claims if not claim.loop.is_closed()]
    return claims


def _give_up(saver: Checkpointer, thread_id: str, claim: _Claim) -> None:
    claims = _living(saver, thread_id)
    if claim in claims:
        claims.remove(claim)
    if not claims:
        del _claims[saver][thread_id]
        return
    for first in claims:
        # Its thread may close the loop at this very moment. Then the next claim is the oldest one.
        with suppress(RuntimeError):
            first.loop.call_soon_threadsafe(_begin, first.turn)
            return


def _begin(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)
