"""A store that its first use opens, once for all who come, and that is closed once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

from durable_graph.checkpointing.binding import Binding

T = TypeVar("T")


class OpenedOnce(Generic[T]):
    """Opens and closes in tasks of its own: whoever is cancelled meanwhile, the store is left neither half open nor
    half closed. `name` is what errors call it.
    """

    def __init__(self, name: str, opening: Callable[[], Awaitable[T]], closing: Callable[[T], Awaitable[None]]) -> None:
        self._binding = Binding(name)
        self._open = opening
        self._close = closing
        self._opening: asyncio.Task[T] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """What is open. Raises what opening raises, which the next call tries again, and as `Binding.check` does."""
        self._binding.check()
        if self._opening is None:
            # In a context of its own: it serves whoever comes, not the caller that happened to be the first.
            self._opening = asyncio.get_running_loop().create_task(_made(self._open), context=Context())
            self._opening.add_done_callback(self._forget_failure)
        opening = self._opening
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            return opening.result()
        opened = await asyncio.shield(opening)
        # It may have been closed while this call waited.
        self._binding.check()
        return opened

    def _forget_failure(self, opening: asyncio.Task[T]) -> None:
        # Here, not where it is waited for: of a failure that nobody waits for any more, who comes later is not told.
        if opening.cancelled() or opening.exception() is not None:
            self._opening = None

    async def aclose(self) -> None:
        """Finish what was begun and close it. Calling it again does nothing."""
        self._binding.check_place()
        self._binding.closed = True
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close_what_is_open(), context=Context())
        await asyncio.shield(self._closing)

    async def _close_what_is_open(self) -> None:
        # One that fails is forgotten meanwhile.
        opening = self._opening
        if opening is None:
            return
        await asyncio.wait([opening])
        if not opening.cancelled() and opening.exception() is None:
            await self._close(opening.result())


async def _made(call: Callable[[], Awaitable[T]]) -> T:
    # Called in here: a loop that is shut down before the task began leaves nothing that was never awaited.
    return await call()
