"""Group commit: what is asked for while a transaction runs goes into the next one, together."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, TypeVar

from durable_graph.errors import StoreUnavailableError
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.patience import begin, committing

T = TypeVar("T")

_LARGEST_GROUP = 256


class Request:
    """A write that was asked for: a function of a connection inside a transaction, and who waits for its result."""

    __slots__ = ("answer", "apply", "thread")

    def __init__(self, thread: str, apply: Callable[[sqlite3.Connection], Any], answer: asyncio.Future[Any]) -> None:
        self.thread: str = thread
        self.apply: Callable[[sqlite3.Connection], Any] = apply
        self.answer: asyncio.Future[Any] = answer


class GroupCommit:
    """Runs writes in as few transactions as there can be. It owns the task that does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[Request] = []
        self._flushing: asyncio.Task[None] | None = None

    async def run(self, thread: str, apply: Callable[[sqlite3.Connection], T]) -> T:
        """What `apply` returns, once that is durable. Cancelling the caller neither stops nor tears it."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        # The answer may be an error that nobody is left to hear.
        answer.add_done_callback(_hear)
        self._waiting.append(Request(thread, apply, answer))
        if self._flushing is None:
            # In a context of its own: it serves whoever comes, not the caller that happened to be the first.
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), context=Context())
        return await asyncio.shield(answer)

    async def settle(self) -> None:
        """Return when nothing is under way, nor will be. A closed event loop has taken its requests along; what it
        began, the connection's thread ends."""
        while self._flushing is not None and self._flushing.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self._flushing])

    async def _flush(self) -> None:
        group: Sequence[Request] = ()
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
                outcomes = await self._outcomes(group)
                for request, outcome in zip(group, outcomes, strict=True):
                    _answer(request.answer, outcome)
        finally:
            self._flushing = None
            # Left by an exception, which is the loop shutting down: nobody may wait for ever.
            for request in (*group, *self._waiting):
                request.answer.cancel()

    async def _outcomes(self, group: Sequence[Request]) -> Sequence[Any]:
        """What became of each request: its result, or the error that it alone met."""
        return await self._connection.call(lambda db: self._on_thread(db, group))

    def _on_thread(self, db: sqlite3.Connection, group: Sequence[Request]) -> Sequence[Any]:
        try:
            return self._together(db, group)
        except Exception as error:
            return [self._failure(error, request) for request in group]

    def _together(self, db: sqlite3.Connection, group: Sequence[Request]) -> Sequence[Any]:
        try:
            return self._transaction(db, group)
        except StoreUnavailableError:
            # Nobody could write: waiting for it once more for each of them would only take longer.
            raise
        except Exception:
            if len(group) == 1:
                raise
        # Something that is no conflict undid them all. One by one, each meets its own error or none.
        return [self._alone(db, request) for request in group]

    def _alone(self, db: sqlite3.Connection, request: Request) -> Any:
        try:
            return self._transaction(db, [request])[0]
        except Exception as error:
            return self._failure(error, request)

    def _failure(self, error: Exception, request: Request) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        failure = self._connection.failure(error, request.thread)
        failure.__cause__ = error
        return failure

    def _transaction(self, db: sqlite3.Connection, group: Sequence[Request]) -> list[Any]:
        def attempt() -> list[Any]:
            with committing(db, begin):
                self._connection.check_still_there()
                return [request.apply(db) for request in group]

        return self._connection.patience.until_free(attempt)


def _answer(answer: "asyncio.Future[Any]", outcome: Any) -> None:
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _hear(answer: "asyncio.Future[Any]") -> None:
    if not answer.cancelled():
        answer.exception()
