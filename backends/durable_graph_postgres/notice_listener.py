"""Receives the notices of other processes, on a connection of its own."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from durable_graph.checkpointing.listeners import Listeners
from durable_graph.checkpointing.payloads import drawn_name, payload_of, probe_of
from durable_graph.checkpointing.waiting import is_set_within
from durable_graph.errors.shown import logged
from durable_graph_postgres.failures import FAILURES
from durable_graph_postgres.links import terminate
from durable_graph_postgres.notice_sender import NoticeSender
from durable_graph_postgres.statements import quoted

KEEP_ALIVE = 30.0
"""In seconds: the pause between two checks of the connection, because a half-open one raises no error."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_PAUSE_BEHIND_POOLER = 300.0
_LONGEST_PROBE = 2.0
_MOST_SILENT = 3
"""The number of lost probes after which the connection counts as a pooler's. A busy server may be late for one."""

_logger = logging.getLogger("durable_graph")


class NoticeListener:
    """A task that listens on a channel until it is closed, and connects anew as often as necessary."""

    def __init__(
        self,
        channel: str,
        name: str,
        listeners: Listeners,
        connect: Callable[[], Awaitable[Any]],
        sender: NoticeSender,
        answer: float,
    ) -> None:
        """`name` is that of this process's sender, whose notices the listeners have received already."""
        self._channel, self._name, self._answer = channel, name, answer
        self._listeners, self._connect, self._sender = listeners, connect, sender
        self._probe = ""
        self._heard = asyncio.Event()
        # The task gets an empty context, because it serves all callers and not only the first.
        self._task = asyncio.get_running_loop().create_task(self._listen_all(), context=Context())
        self._task.add_done_callback(_ended)

    async def close(self) -> None:
        """End the task and its connection."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _listen_all(self) -> None:
        pause, silent = _FIRST_PAUSE, 0
        while True:
            try:
                if await self._listen():
                    pause, silent = _FIRST_PAUSE, 0
                else:
                    silent += 1
                if silent == _MOST_SILENT:
                    _logger.info("a pooler keeps notices from this process, which polls the store instead")
                    pause, silent = _PAUSE_BEHIND_POOLER, 0
            except FAILURES as error:
                _logger.debug("notices of other processes do not arrive: %s", logged(error))
            # The jitter keeps processes that lost the same server from connecting at the same time.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # spreads the load, keeps no secret
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _listen(self) -> bool:
        """Listen until the connection is lost. False if no notice arrives on it: the connection is a pooler's, which
        lends a server connection for one transaction only."""
        connection = await self._connect()
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(self._channel, self._hear)
            is_heard = await self._is_probe_heard(lost)
            if lost.is_set():
                # That says nothing about a pooler.
                why = "the connection was lost"
                raise ConnectionResetError(why)
            if not is_heard:
                await connection.execute(f"UNLISTEN {quoted(self._channel)}", timeout=self._answer)
                return False
            # Notices that were sent before the connection are lost.
            for listener in self._listeners:
                self._listeners.tell(listener.wanted(), [listener])
            while not await is_set_within(lost, KEEP_ALIVE):
                await connection.fetchval("SELECT 1", timeout=self._answer)
            return True
        finally:
            terminate(connection)

    async def _is_probe_heard(self, lost: asyncio.Event) -> bool:
        """Whether a notice of this process arrives at it, on a connection that is not lost."""
        self._probe, self._heard = drawn_name(), asyncio.Event()
        await self._sender.send_now([probe_of(self._name, self._probe)])
        arrival = [asyncio.ensure_future(each.wait()) for each in (self._heard, lost)]
        try:
            await asyncio.wait(arrival, timeout=_LONGEST_PROBE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in arrival:
                each.cancel()
        return self._heard.is_set()

    def _hear(self, _connection: Any, _pid: int, _channel: str, text: str) -> None:
        payload = payload_of(text)
        if payload is None:
            for listener in self._listeners:
                self._listeners.tell(listener.wanted(), [listener])
        elif payload.sender != self._name:
            self._listeners.tell(payload.notices)
        elif payload.probe == self._probe:
            self._heard.set()


def _ended(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.warning("notices of other processes do not arrive, and the store is polled", exc_info=error)
