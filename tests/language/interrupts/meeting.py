"""Savers that force another call, as from a second process, to run right before a chosen call of the store."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from durable_graph import Checkpointer
from durable_graph.testing import CrashingSaver

T = TypeVar("T")


class Preceded(CrashingSaver):
    """A saver on the same store, as in another process. It awaits `act` before its next call of the method `before`."""

    def __init__(self, inner: Checkpointer, before: str, act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(inner)
        self._before = before
        self._act: Callable[[], Coroutine[Any, Any, Any]] | None = act

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if name == self._before and self._act is not None:
            act, self._act = self._act, None
            # An empty context: another process shares no context variable with the code that makes this call.
            await asyncio.get_running_loop().create_task(act(), context=Context())
        return await super()._call(name, call)


class BothRead(CrashingSaver):
    """A saver that delays every write until the thread has been loaded twice, once by each of two calls."""

    def __init__(self, inner: Checkpointer) -> None:
        super().__init__(inner)
        self._loads = 0
        self._are_loaded = asyncio.Event()

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if name in {"save_writes", "commit"}:
            await self._are_loaded.wait()
        result = await super()._call(name, call)
        if name == "load":
            self._loads += 1
            if self._loads == 2:
                self._are_loaded.set()
        return result
