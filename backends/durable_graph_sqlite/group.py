"""Group commit: writes that arrive while a transaction runs share the next transaction."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

from durable_graph.checkpointing import CommitHandle
from durable_graph.checkpointing.transactions import Wanted, begun, prepare
from durable_graph.errors import StoreUnavailableError
from durable_graph.records import CommitUnit, WritesBatch
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.failures import of_text
from durable_graph_sqlite.prepared_writes import make
from durable_graph_sqlite.retry import begin, committing
from durable_graph_sqlite.statements import run

_LARGEST_GROUP = 256


class Request:
    """A write that was asked for, and its result."""

    __slots__ = ("answer", "thread", "wanted")

    def __init__(self, thread: str, wanted: Wanted) -> None:
        self.thread: str = thread
        self.wanted: Wanted = wanted
        self.answer: CommitHandle[Any] = CommitHandle()


class GroupCommit:
    """Runs writes in as few transactions as there can be, one after the other.

    No asyncio task does it: the end of a transaction, which the connection's thread reports to the event loop, begins
    the next one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[Request] = []
        self._is_at_work = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settling: list[asyncio.Future[None]] = []

    def begin(self, thread: str, wanted: Wanted) -> CommitHandle[Any]:
        """The result of the write, once it is durable. Cancelling the caller neither stops nor tears it."""
        request = Request(thread, wanted)
        self._waiting.append(request)
        if not self._is_at_work:
            self._is_at_work = True
            self._loop = asyncio.get_running_loop()
            # After the other callbacks of this turn: the runs that they resume may ask for something as well. In a
            # context of its own, since it serves all of them.
            self._loop.call_soon(self._begin_next, context=Context())
        return request.answer

    async def settle(self) -> None:
        """Return when nothing is under way, nor will be. A closed event loop has taken its requests along; what it
        began, the connection's thread ends."""
        if self._is_at_work and self._loop is asyncio.get_running_loop():
            settled: asyncio.Future[None] = self._loop.create_future()
            self._settling.append(settled)
            await settled

    def _begin_next(self) -> None:
        group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
        self._connection.put(partial(self._on_thread, asyncio.get_running_loop(), group))

    def _ended(self, group: Sequence[Request], outcomes: Sequence[Any]) -> None:
        if self._waiting:
            self._begin_next()
        else:
            self._is_at_work = False
        for request, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                request.answer.set_error(outcome)
            else:
                request.answer.set_result(outcome)
        if not self._is_at_work and self._settling:
            settling, self._settling = self._settling, []
            for settled in settling:
                if not settled.done():
                    settled.set_result(None)

    def _on_thread(self, loop: asyncio.AbstractEventLoop, group: Sequence[Request], db: sqlite3.Connection) -> None:
        outcomes: Sequence[Any]
        try:
            outcomes = self._together(db, group)
        except Exception as error:
            outcomes = [self._failure(error, request) for request in group]
        except BaseException as error:
            outcomes = [error] * len(group)
        # Nobody is left to hear of it in a loop that was closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._ended, group, outcomes)

    def _together(self, db: sqlite3.Connection, group: Sequence[Request]) -> Sequence[Any]:
        try:
            return self._transaction(db, group, prepares=True)
        except StoreUnavailableError:
            # The file was locked for the whole time limit: waiting again for each request would only take longer.
            raise
        except Exception as error:
            # A single write is made again only for a row that is stored already: then it should not have been prepared.
            if len(group) == 1 and not isinstance(error, sqlite3.IntegrityError):
                raise
        # The error of one request rolled all of them back. In separate transactions, only that request fails.
        return [self._alone(db, request) for request in group]

    def _alone(self, db: sqlite3.Connection, request: Request) -> Any:
        try:
            return self._transaction(db, [request], prepares=False)[0]
        except Exception as error:
            return self._failure(error, request)

    def _failure(self, error: Exception, request: Request) -> Exception:
        if isinstance(error, UnicodeEncodeError | UnicodeDecodeError):
            failure = of_text(str(self._connection.path), error, request.thread)
        elif isinstance(error, sqlite3.Error):
            failure = self._connection.failure(error, request.thread)
        else:
            return error
        failure.__cause__ = error
        return failure

    def _transaction(self, db: sqlite3.Connection, group: Sequence[Request], *, prepares: bool) -> list[Any]:
        def attempt() -> list[Any]:
            with committing(db, begin):
                self._connection.check_still_there()
                return [_result(db, request.wanted, prepares=prepares) for request in group]

        return self._connection.retry.until_free(attempt)


def _result(db: sqlite3.Connection, wanted: Wanted, *, prepares: bool) -> Any:
    """Make a write and return its result: the prepared write, if there is one and the thread is as it expects."""
    if prepares and isinstance(wanted, CommitUnit | WritesBatch):
        write = prepare(wanted)
        if write is not None and make(db, write):
            return write.result
    return run(db, begun(wanted)).result
