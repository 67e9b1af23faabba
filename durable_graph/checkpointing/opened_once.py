"""A store that its first user opens for all users, and that can move to another event loop."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Generic, TypeVar

from durable_graph.checkpointing.binding import Binding

T = TypeVar("T")

_LONGEST_GOODBYE = 5.0
"""The seconds for which an event loop that shuts down waits until a store that no user closed is closed."""


class OpenedOnce(Generic[T]):
    """Opens and closes the store in separate tasks, so that a cancelled caller cannot leave it half open or half
    closed. `name` is the name of the store in errors.

    An event loop that shuts down its generators, as `asyncio.run` does, closes a store that its users left open. A loop
    that was closed otherwise leaves the store open; the next loop that uses the store first closes that store and then
    opens its own, so pending work ends before new work starts. `closing` may be called more than once for a store, and
    in another loop than the store's own loop, which is closed then.
    """

    def __init__(self, name: str, opening: Callable[[], Awaitable[T]], closing: Callable[[T], Awaitable[None]]) -> None:
        self._binding = Binding(name)
        self._open = opening
        self._close = closing
        self._opening: asyncio.Task[T] | None = None
        self._closing: asyncio.Task[None] | None = None
        # Stores that are open and no longer used.
        self._unclosed: list[T] = []
        self._watch: AsyncGenerator[None] | None = None
        self._watched: asyncio.AbstractEventLoop | None = None

    async def get(self) -> T:
        """The open store. Raises what opening raises, which the next call tries again, and as `Binding.check` does."""
        opened = self.now()
        if opened is not None:
            return opened
        if self._opening is None:
            # The task gets an empty context, because it serves all callers and not only the first.
            self._opening = asyncio.get_running_loop().create_task(self._open_anew(), context=Context())
            self._opening.add_done_callback(self._forget_failure)
        opened = await asyncio.shield(self._opening)
        # It may have been closed while this call waited.
        self._binding.check()
        return opened

    def now(self) -> T | None:
        """The store, if it is open. Raises as `Binding.check` does."""
        self._binding.check()
        opening = self._opening
        if opening is None or opening.get_loop() is not asyncio.get_running_loop():
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
                # `aclose` raises the error of a failed closing; this call does not.
                await asyncio.wait([closing])
            if self._closing is closing:
                self._closing = None
                self._binding.closed = False
        return await self.get()

    def is_closed(self) -> bool:
        """Whether a user has closed the store, and it was not entered again."""
        return self._binding.closed

    async def aclose(self) -> None:
        """Finish pending work and close the store. Calling it again does nothing."""
        self._binding.check_place()
        self._leave_closed_loop()
        self._binding.closed = True
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close_all(), context=Context())
        await asyncio.shield(self._closing)

    def _leave_closed_loop(self) -> None:
        """Set aside a store of another loop. The binding has checked that this loop is closed."""
        loop = asyncio.get_running_loop()
        if self._opening is not None and self._opening.get_loop() is not loop:
            self._set_aside()
        if self._closing is not None and self._closing.get_loop() is not loop:
            self._closing = None

    def _set_aside(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None:
            self._unclosed.append(opening.result())

    async def _open_anew(self) -> T:
        await self._close_unclosed()
        await self._watch_loop()
        return await self._open()

    def _forget_failure(self, opening: "asyncio.Task[T]") -> None:
        # A callback of the task, because callers may be cancelled: later callers must not get an old failure.
        if (opening.cancelled() or opening.exception() is not None) and self._opening is opening:
            self._opening = None

    async def _close_all(self) -> None:
        # If the opening fails, its callback removes it.
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self._set_aside()
        await self._close_unclosed()

    async def _close_unclosed(self) -> None:
        while self._unclosed:
            opened = self._unclosed[0]
            try:
                await self._close(opened)
            except asyncio.CancelledError:
                # The loop shuts down during the closing: its generator shutdown, or the next loop, closes the store.
                raise
            except BaseException:
                self._forget(opened)
                raise
            self._forget(opened)

    def _forget(self, opened: T) -> None:
        self._unclosed = [each for each in self._unclosed if each is not opened]

    async def _watch_loop(self) -> None:
        """Make the running loop close the store when the loop shuts down.

        At its shutdown an event loop cancels all tasks and then closes all asynchronous generators that were started in
        it. So a generator that never finishes otherwise is a hook. Unlike a waiting task, it does not block code that
        waits for all tasks of the loop.
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
                await self._close_at_shutdown()

    async def _close_at_shutdown(self) -> None:
        # Later calls in this loop, from other generators that it closes, open the store again.
        self._set_aside()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_GOODBYE):
                await self._close_unclosed()
