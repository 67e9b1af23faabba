"""`PostgresSaver.notifier`: listeners of this process directly, those of others by LISTEN and NOTIFY."""

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import asyncpg

from durable_graph.checkpointing.listeners import Callback, Listeners
from durable_graph.checkpointing.notices import Notice, Wanted
from durable_graph.checkpointing.notifier import Listening
from durable_graph.checkpointing.payloads import drawn_name
from durable_graph_postgres.apart import Apart
from durable_graph_postgres.notice_listener import NoticeListener
from durable_graph_postgres.notice_sender import NoticeSender
from durable_graph_postgres.parameters import Parameters
from durable_graph_postgres.retry import Retry

_LONGEST_ANSWER = 5.0
_LINGER = 30.0
"""In seconds: how long the connection stays open after the last listener, because the next one may come soon."""


class PostgresNotifier:
    """Notifies the processes that share a schema. See `Notifier`.

    It sends and listens on connections of its own, which it opens for the first notice and the first listener. Without
    `listens` it only sends: no notice arrives through a pooler that lends a connection for one transaction.
    """

    def __init__(
        self,
        given: "Parameters | asyncpg.Pool[asyncpg.Record]",
        retry: Retry,
        is_closed: Callable[[], bool],
        *,
        prepares: bool,
        listens: bool,
    ) -> None:
        """`given` are the parameters of a DSN, or a user's pool, whose connections are not used. `is_closed` says
        whether the saver is closed: then no connection is made."""
        self._given, self._retry, self._prepares, self._listens = given, retry, prepares, listens
        self._is_closed = is_closed
        # Names of channels are limited to 63 bytes, as those of schemas are.
        self._channel = f"durable_graph_{blake2b(retry.schema.encode(), digest_size=8).hexdigest()}"
        self._name = drawn_name()
        self._listeners = Listeners(self._leave)
        self._link: _Link | None = None

    def notify(self, *notices: Notice) -> None:
        """See `Notifier.notify`."""
        self._listeners.tell(notices)
        if not self._is_closed():
            self._linked().sender.send(notices)

    def listen(self, callback: Callback, wanted: Callable[[], Wanted]) -> Listening:
        """See `Notifier.listen`."""
        listener = self._listeners.add(callback, wanted)
        if self._listens and not self._is_closed():
            self._linked().listen()
        return listener

    async def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send the pending notices, and close the connections of this event loop. Later calls open others."""
        link = self._link
        if link is None or link.loop is not loop:
            return
        self._link = None
        if loop is asyncio.get_running_loop():
            await link.close()
        else:
            link.cut_off()

    def _linked(self) -> "_Link":
        link, loop = self._link, asyncio.get_running_loop()
        if link is None or link.loop is not loop:
            if link is not None:
                # The event loop was closed before the saver.
                link.cut_off()
            link = self._link = _Link(
                self._channel, self._name, self._listeners, self._given, self._retry, prepares=self._prepares
            )
        return link

    def _leave(self) -> None:
        if self._link is not None and not self._link.loop.is_closed():
            self._link.leave()


class _Link:
    """The connections for the notices of one event loop."""

    def __init__(
        self,
        channel: str,
        name: str,
        listeners: Listeners,
        given: "Parameters | asyncpg.Pool[asyncpg.Record]",
        retry: Retry,
        *,
        prepares: bool,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        # A notice that takes longer would come too late.
        answer = min(retry.answer, _LONGEST_ANSWER)
        self._apart = Apart(given, answer, prepares=prepares)
        connect = self._apart.connect
        self.sender: NoticeSender = NoticeSender(channel, name, connect, answer)
        self._make: Callable[[], NoticeListener] = partial(
            NoticeListener, channel, name, listeners, connect, self.sender, answer
        )
        self._listeners = listeners
        self._listener: NoticeListener | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Listen, unless it already does."""
        if self._listener is None:
            self._listener = self._make()

    def leave(self) -> None:
        """Stop listening after a while, unless a listener was added until then."""
        if self._leaving is None and self._listener is not None:
            self._leaving = self.loop.call_later(_LINGER, self._end_unused)

    def _end_unused(self) -> None:
        self._leaving = None
        listener = self._listener
        if listener is not None and not self._listeners:
            self._listener = None
            ending = self.loop.create_task(listener.close())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Send the pending notices, and close the connections."""
        if self._leaving is not None:
            self._leaving.cancel()
        if self._listener is not None:
            await self._listener.close()
        if self._ending:
            await asyncio.wait(self._ending)
        await self.sender.close()
        await self._apart.close()

    def cut_off(self) -> None:
        """Close the sockets of a closed loop's connections."""
        self._apart.cut_off()
