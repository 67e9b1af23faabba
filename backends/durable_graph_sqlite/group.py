"""Group commit: writes that arrive while a transaction runs share the next transaction."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

from durable_graph.checkpointing import CommitHandle
from durable_graph.errors import StoreUnavailableError
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.failures import of_text
from durable_graph_sqlite.patience import begin, committing

T = TypeVar("T")

_LARGEST_GROUP = 256


class Request:
    """A write that was asked for: a function of a connection inside a transaction, and its result."""

    __slots__ = ("answer", "apply", "thread")

    def __init__(self, thread: str, apply: Callable[[sqlite3.Connection], Any]) -> None:
        self.thread: str = thread
        self.apply: Callable[[sqlite3.Connection], Any] = apply
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

    def begin(self, thread: str, apply: Callable[[sqlite3.Connection], T]) -> CommitHandle[T]:
        """What `apply` returns, once that is durable. Cancelling the caller neither stops nor tears it."""
        request = Request(thread, apply)
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
        call = self._connection.begin(lambda db: self._on_thread(db, group))
        call.when_done(partial(self._ended, group, call))

    def _ended(self, group: Sequence[Request], call: CommitHandle[Sequence[Any]]) -> None:
        if self._waiting:
            self._begin_next()
        else:
            self._is_at_work = False
        outcomes = call.result() if call.error is None else [call.error] * len(group)
        for request, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                request.answer.set_error(outcome)
            else:
                request.answer.set_result(outcome)
        if not self._is_at_work:
            settling, self._settling = self._settling, []
            for settled in settling:
                if not settled.done():
                    settled.set_result(None)

    def _on_thread(self, db: sqlite3.Connection, group: Sequence[Request]) -> Sequence[Any]:
        try:
            return self._together(db, group)
        except Exception as error:
            return [self._failure(error, request) for request in group]

    def _together(self, db: sqlite3.Connection, group: Sequence[Request]) -> Sequence[Any]:
        try:
            return self._transaction(db, group)
        except StoreUnavailableError:
            # The file was locked for the whole time limit: waiting again for each request would only take longer.
            raise
        except Exception:
            if len(group) == 1:
                raise
        # The error of one request rolled all of them back. In separate transactions, only that request fails.
        return [self._alone(db, request) for request in group]

    def _alone(self, db: sqlite3.Connection, request: Request) -> Any:
        try:
            return self._transaction(db, [request])[0]
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

    def _transaction(self, db: sqlite3.Connection, group: Sequence[Request]) -> list[Any]:
        def attempt() -> list[Any]:
            with committing(db, begin):
                self._connection.check_still_there()
                return [request.apply(db) for request in group]

        return self._connection.patience.until_free(attempt)
