"""A store that is opened once for all of its users, by the first of them, and that moves to another event loop."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Generic, TypeVar

from durable_graph.checkpointing.binding import Binding

T = TypeVar("T")

_LONGEST_GOODBYE = 5.0
"""In seconds: how long an event loop that ends waits for a store that nobody closed."""


class OpenedOnce(Generic[T]):
    """Opens and closes the store in tasks of its own: a cancelled caller leaves it neither half open nor half closed.
    `name` is the name of the store in errors.

    An event loop that shuts down in good order, as `asyncio.run` does, closes a store that its users left open. One
    that was closed by hand leaves the store behind; the next loop that uses the store closes that first and then opens
    its own, so work that was under way is over before new work begins. `closing` has to stand being called again, and
    being called in another loop than the one that the store was opened in, which is closed then.
    """

    def __init__(self, name: str, opening: Callable[[], Awaitable[T]], closing: Callable[[T], Awaitable[None]]) -> None:
        self._binding = Binding(name)
        self._open = opening
        self._close = closing
        self._opening: asyncio.Task[T] | None = None
        self._closing: asyncio.Task[None] | None = None
        # Opened, and not yet closed although nobody uses them any more.
        self._left: list[T] = []
        self._watch: AsyncGenerator[None] | None = None
        self._watched: asyncio.AbstractEventLoop | None = None

    async def get(self) -> T:
        """The open store. Raises what opening raises, which the next call tries again, and as `Binding.check` does."""
        opened = self.now()
        if opened is not None:
            return opened
        if self._opening is None:
            # In a context of its own: it serves all callers, not only the one that happened to be the first.
            self._opening = asyncio.get_running_loop().create_task(self._open_anew(), context=Context())
            self._opening.add_done_callback(self._forget_failure)
        opened = await asyncio.shield(self._opening)
        # It may have been closed while this call waited.
        self._binding.check()
        return opened

    def now(self) -> T | None:
        """The store, if it is open. Raises as `Binding.check` does."""
        self._binding.check()
        self._leave_closed_loop()
        opening = self._opening
        if opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None:
            return opening.result()
        return None

    async def enter(self) -> T:
        """As `get`, for `async with`: a closed store is opened again."""
        self._binding.check_place()
        self._leave_closed_loop()
        while self._binding.closed:
            closing = self._closing
            if closing is not None:
                # A failure of closing is the business of the task that closed.
                await asyncio.wait([closing])
            if self._closing is closing:
                self._closing = None
                self._binding.closed = False
        return await self.get()

    async def aclose(self) -> None:
        """Finish what was begun and close it. Calling it again does nothing."""
        self._binding.check_place()
        self._leave_closed_loop()
        self._binding.closed = True
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close_all(), context=Context())
        await asyncio.shield(self._closing)

    def _leave_closed_loop(self) -> None:
        """Set aside what another loop opened: the binding has found that loop closed."""
        loop = asyncio.get_running_loop()
        if self._opening is not None and self._opening.get_loop() is not loop:
            self._set_aside()
        if self._closing is not None and self._closing.get_loop() is not loop:
            self._closing = None

    def _set_aside(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None:
            self._left.append(opening.result())

    async def _open_anew(self) -> T:
        await self._close_left()
        await self._watch_loop()
        return await self._open()

    def _forget_failure(self, opening: "asyncio.Task[T]") -> None:
        # Here, not where it is waited for: a failure that nobody waits for any more is not raised to later callers.
        if (opening.cancelled() or opening.exception() is not None) and self._opening is opening:
            self._opening = None

    async def _close_all(self) -> None:
        # An opening that fails is forgotten meanwhile.
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self._set_aside()
        await self._close_left()

    async def _close_left(self) -> None:
        while self._left:
            opened = self._left[0]
            try:
                await self._close(opened)
            except asyncio.CancelledError:
                # The loop shuts down in the middle of it: its end, or the next loop, closes it.
                raise
            except BaseException:
                self._forget(opened)
                raise
            self._forget(opened)

    def _forget(self, opened: T) -> None:
        self._left = [each for each in self._left if each is not opened]

    async def _watch_loop(self) -> None:
        """Have the running loop close the store when it shuts down.

        An event loop cancels all tasks and then closes all asynchronous generators that were begun in it. So a
        generator that is never finished otherwise is a hook, and unlike a task that waits it holds nobody up who waits
        for all tasks of the loop.
        """
        loop = asyncio.get_running_loop()
        if self._watched is not loop:
            self._watched = loop
            self._watch = self._until_loop_ends()
            await anext(self._watch)

    async def _until_loop_ends(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if not self._binding.is_of_another_process():
                await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        # Later calls of this loop, from other generators that it closes, open the store anew.
        self._set_aside()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_GOODBYE):
                await self._close_left()
