"""The worker of `App.run` in a process that has none."""

import asyncio
from collections.abc import Callable

from durable_graph.runs.worker import Worker


class WorkerOfCalls:
    """A worker for the calls of one event loop: the first one begins it, and the last one ends it."""

    def __init__(self, make: Callable[[], Worker]) -> None:
        self._make = make
        self._calls = 0
        self._worker: Worker | None = None
        # Held while the worker begins or ends.
        self._changing = asyncio.Lock()

    @classmethod
    def here(
        cls, known: "dict[asyncio.AbstractEventLoop, WorkerOfCalls]", make: Callable[[], Worker]
    ) -> "WorkerOfCalls":
        """That of the running event loop. Those of loops that were closed are forgotten."""
        for loop in [each for each in known if each.is_closed()]:
            del known[loop]
        return known.setdefault(asyncio.get_running_loop(), cls(make))

    @property
    def is_used(self) -> bool:
        """Whether the worker runs, begins or ends: it is then no worker for a call that does not hold it."""
        return self._worker is not None or self._changing.locked()

    async def __aenter__(self) -> None:
        async with self._changing:
            if self._worker is None:
                worker = self._make()
                await worker.__aenter__()
                self._worker = worker
            self._calls += 1

    async def __aexit__(self, *_: object) -> None:
        self._calls -= 1
        if self._calls or self._worker is None:
            return
        # No other call holds the lock: the worker runs, and only its last call ends it.
        async with self._changing:
            try:
                await self._worker.drain()
            finally:
                self._worker = None
