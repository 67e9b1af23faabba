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
    """A thread that calls of this process run, one after the other.

    `moved`, made where somebody waits for it, is set when the call whose turn it is stores something, or ends.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    moved: asyncio.Event | None = None

    def has_moved(self) -> None:
        """Wake the calls that wait for it."""
        if self.moved is not None:
            self.moved.set()
            self.moved = None


_turns: WeakKeyDictionary[Checkpointer, dict[str, _Turn]] = WeakKeyDictionary()


@asynccontextmanager
async def only_run(saver: Checkpointer | None, thread_id: str | None, if_busy: IfBusy) -> AsyncIterator[None]:
    """Hold the thread while the body runs. Waiting calls take turns in the order in which they came.

    Raises `ThreadBusyError` if another call holds it and `if_busy` is "reject".
    """
    if saver is None or thread_id is None:
        yield
        return
    turns = _turns.setdefault(saver, {})
    turn = turns.setdefault(thread_id, _Turn())
    if turn.users and if_busy == "reject":
        raise ThreadBusyError(thread_id)
    turn.users += 1
    try:
        async with turn.lock:
            yield
    finally:
        turn.users -= 1
        if not turn.users:
            del turns[thread_id]
        turn.has_moved()


def held(saver: Checkpointer | None, thread_id: str | None) -> asyncio.Event | None:
    """What is set once the call of this process that has the thread stores something or ends; None if no call has it.

    Whoever asks before it reads the thread misses nothing that is stored later.
    """
    turn = None if saver is None or thread_id is None else _turns.get(saver, {}).get(thread_id)
    if turn is not None and turn.moved is None:
        turn.moved = asyncio.Event()
    return None if turn is None else turn.moved


def has_written(saver: Checkpointer, thread_id: str) -> None:
    """A run of this process has stored something in the thread."""
    turn = _turns.get(saver, {}).get(thread_id)
    if turn is not None:
        turn.has_moved()
