"""Another process that does something of its own, right before a call that a saver makes of the store."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from durable_graph import Checkpointer
from durable_graph.testing import CrashingSaver

T = TypeVar("T")


class Preceded(CrashingSaver):
    """A saver on the same store, as another process has one. `act` precedes its next call of the name `before`."""

    def __init__(self, inner: Checkpointer, before: str, act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(inner)
        self._before = before
        self._act: Callable[[], Coroutine[Any, Any, Any]] | None = act

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if name == self._before and self._act is not None:
            act, self._act = self._act, None
            # Another process knows nothing of the code that makes this call.
            await asyncio.get_running_loop().create_task(act(), context=Context())
        return await super()._call(name, call)


class BothRead(CrashingSaver):
    """A saver that records nothing until the thread has been loaded twice: by two calls, one after the other."""

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
