"""Sends notices to other processes, on a connection of its own, beside the transactions whose changes they report."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from typing import Any

from durable_graph.checkpointing.notices import Notice
from durable_graph.checkpointing.payloads import payloads_of
from durable_graph.errors.shown import logged
from durable_graph_postgres.failures import FAILURES
from durable_graph_postgres.links import terminate

_PAUSE = 0.005
"""In seconds: the least pause between two statements. Notices that arrive meanwhile go into the next one."""
_MOST_WAITING = 10_000
_PAUSE_AFTER_FAILURE = 1.0
_LONGEST_GOODBYE = 1.0
_LONGEST_IDLE = 60.0
"""In seconds: network equipment on the way to the server drops idle connections silently."""

# A transaction that notifies has an id of its own, so without the setting its end would wait for a flush. The setting
# is for this transaction only: behind a pooler, the next one may be another client's.
_SEND = (
    "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
)

_logger = logging.getLogger("durable_graph")


class NoticeSender:
    """Sends the notices of an event loop, in one statement for all that arrive within 5 ms.

    Without a connection notices are dropped: they would come too late.
    """

    def __init__(self, channel: str, name: str, connect: Callable[[], Awaitable[Any]], answer: float) -> None:
        """`name` is the name of the sender, and `answer` the seconds that a statement may take."""
        self._channel, self._name, self._answer = channel, name, answer
        self._connect = connect
        self._connection: Any = None
        self._used = 0.0
        self._turn = asyncio.Lock()
        self._waiting: dict[Notice, None] = {}
        self._sending: asyncio.Task[None] | None = None
        self._next = 0.0
        self._is_closed = False

    def send(self, notices: Iterable[Notice]) -> None:
        """Send them soon, each once."""
        if self._is_closed or len(self._waiting) > _MOST_WAITING:
            return
        self._waiting.update(dict.fromkeys(notices))
        if self._waiting and self._sending is None:
            self._begin()

    def _begin(self) -> None:
        # The task gets an empty context, because it serves all callers and not only the first.
        self._sending = asyncio.get_running_loop().create_task(self._send_all(), context=Context())
        self._sending.add_done_callback(self._sent)

    async def send_now(self, payloads: Sequence[str]) -> None:
        """Send payloads. Raises the driver's errors; the next call connects anew then."""
        async with self._turn:
            connection = await self._connected()
            try:
                await connection.fetch(_SEND, self._channel, payloads, timeout=self._answer)
            except BaseException:
                terminate(connection)
                raise
            self._used = time.monotonic()

    async def _connected(self) -> Any:
        if self._connection is not None and time.monotonic() - self._used > _LONGEST_IDLE:
            self._connection.terminate()
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        return self._connection

    async def close(self) -> None:
        """Send the pending notices, for a second at most, and close the connection."""
        self._is_closed = True
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=_LONGEST_GOODBYE)
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def _send_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._next - time.monotonic())
            notices, self._waiting = self._waiting, {}
            try:
                await self.send_now(payloads_of(self._name, notices))
                self._next = time.monotonic() + _PAUSE
            except FAILURES as error:
                _logger.debug("other processes are not notified: %s", logged(error))
                self._next = time.monotonic() + _PAUSE_AFTER_FAILURE

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.warning("other processes are not notified", exc_info=error)
        if self._waiting and not task.cancelled():
            # They came after the task had ended.
            self._begin()
