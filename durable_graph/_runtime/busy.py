"""One run at a time on a thread, inside this process. Between processes the store's compare-and-swap decides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from durable_graph._runtime.run import IfBusy
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import ThreadBusyError


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


_turns: WeakKeyDictionary[Checkpointer, dict[str, _Turn]] = WeakKeyDictionary()


@asynccontextmanager
async def only_run(saver: Checkpointer | None, thread_id: str | None, if_busy: IfBusy | None) -> AsyncIterator[None]:
    """Hold the thread while the body runs. Waiting calls take turns in the order in which they came.

    Raises `ThreadBusyError` if another call holds it and `if_busy` is "reject", or None: a call without that option.
    """
    if saver is None or thread_id is None:
        yield
        return
    turns = _turns.setdefault(saver, {})
    turn = turns.setdefault(thread_id, _Turn())
    if turn.users and if_busy != "wait":
        raise ThreadBusyError(thread_id, can_wait=if_busy is not None)
    turn.users += 1
    try:
        async with turn.lock:
            yield
    finally:
        turn.users -= 1
        if not turn.users:
            del turns[thread_id]
