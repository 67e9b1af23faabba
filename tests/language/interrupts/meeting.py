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
