"""A worker's lease, renewed from a thread of its own: a node that blocks the event loop does not lose it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from durable_graph._runtime.request.run import RunControl
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.checkpointing.waiting import is_set_within
from durable_graph.errors import DurableGraphError
from durable_graph.run_records import Heartbeat

_logger = logging.getLogger("durable_graph")

_SOON = 0.2
"""Seconds until the next try, after a heartbeat that the store did not answer."""


class Lease:
    """The lease of one worker. `has_ended` compares a time of this process's own clock, which no other process sets.

    The end counts from before a heartbeat is sent, so the process sees it before the store does. A process that was
    stopped and continues finds it over, and starts no further node.
    """

    def __init__(
        self, runs: RunStore, worker: int, ttl: float, sent: float, on_beat: Callable[[Heartbeat | None], None]
    ) -> None:
        """`sent` is the time from before the worker was registered."""
        self.worker = worker
        self._runs = runs
        self._ttl = ttl
        self._on_beat = on_beat
        self._until = sent + ttl
        self._is_closing = False
        self._hurry: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"lease of worker {worker}", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether the lease is over, as far as this process knows."""
        return time.monotonic() >= self._until

    async def close(self) -> None:
        """Stop renewing it, and wait for the thread's end."""
        self._is_closing = True
        self.beat()
        await self._ended

    def beat(self) -> None:
        """Send the next heartbeat now: its reply has the requests to the worker."""
        if self._hurry is not None:
            loop, hurry = self._hurry
            with suppress(RuntimeError):  # the thread has just ended by itself
                loop.call_soon_threadsafe(hurry.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._beat())
        except Exception:
            _logger.exception("the heartbeats of a worker have failed")
            self._lose()
        finally:
            self._call(self._set_ended)

    def _set_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The worker's event loop was closed without the worker: no task is left to receive it.
            self._is_closing = True

    async def _beat(self) -> None:
        pause = self._ttl / 3
        hurry = asyncio.Event()
        self._hurry = asyncio.get_running_loop(), hurry
        while not self._is_closing:
            try:
                async with self._runs.beside() as runs:
                    while True:
                        await is_set_within(hurry, pause)
                        hurry.clear()
                        if self._is_closing:
                            return
                        pause = self._ttl / 3
                        if not await self._renewed(runs):
                            return
            except DurableGraphError as error:
                # The store cannot be reached. Without an answer the lease ends by itself.
                _logger.debug("a heartbeat had no answer: %s", error)
                pause = min(_SOON, self._ttl / 10)
                await is_set_within(hurry, pause)
                hurry.clear()

    def _lose(self) -> None:
        self._until = 0.0
        self._call(self._on_beat, None)

    async def _renewed(self, runs: RunStore) -> bool:
        if self._loop.is_closed():
            # It was closed without the worker: nobody executes its runs, so that others have to take them over.
            return False
        sent = time.monotonic()
        beat = await runs.heartbeat(self.worker, round(self._ttl * 1_000_000))
        if beat is None or self.has_ended:
            # Once it has ended it stays so: executions may have stopped because of that, and nobody else would
            # execute their runs.
            self._lose()
            return False
        self._until = sent + self._ttl
        if beat.requests or beat.followed:
            self._call(self._on_beat, beat)
        return True


class LeasedControl(RunControl):
    """Stops a run before its next superstep also when the lease has ended: another worker may have claimed it."""

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self._lease = lease

    @property
    def drain_requested(self) -> bool:
        """Whether the run was asked to stop, or its worker has lost it."""
        return self._reason is not None or self._lease.has_ended
