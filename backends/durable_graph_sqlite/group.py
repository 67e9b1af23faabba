"""Group commit: writes that arrive while a transaction runs share the next transaction."""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

from durable_graph.checkpointing import CommitHandle
from durable_graph.checkpointing.columns import thread_columns
from durable_graph.checkpointing.prepared import PreparedWrite, prepare
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.transactions import Wanted, WriteRequest, begun
from durable_graph.errors import StoreUnavailableError
from durable_graph.errors.shown import logged
from durable_graph.records import CommitUnit, WritesBatch
from durable_graph.run_records import RunState
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.failures import of_text
from durable_graph_sqlite.retry import begin, committing
from durable_graph_sqlite.statements import SQL, rows, run

_LARGEST_GROUP = 256
_TURNS = 4
"""The turns of the event loop from the result of a run's commit to its next one, if its node does not wait."""

_logger = logging.getLogger("durable_graph")


class GroupCommit:
    """Runs writes in as few transactions as there can be, one after the other.

    No asyncio task does it: the end of a transaction, which the connection's thread reports to the event loop, begins
    the next one. A write is prepared if it can be; otherwise it is a transaction that reads first.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[WriteRequest] = []
        self._is_at_work = False
        # Whether the last group, and the one before it as well, had one request.
        self._were_alone = self._is_alone = False
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._settling: list[asyncio.Future[None]] = []

    def begin(self, thread: str, wanted: Wanted) -> CommitHandle[Any]:
        """The result of the write, once it is durable. Cancelling the caller neither stops nor tears it."""
        request = WriteRequest(thread, wanted)
        self._waiting.append(request)
        if not self._is_at_work:
            self._is_at_work = True
            if self._is_alone:
                # One run after the other has asked for a write of its own: nobody else is about to.
                self._begin_next()
            else:
                # After the other callbacks of this turn: the runs that they resume may ask for something as well. In
                # a context of its own, since it serves all of them.
                self.loop.call_soon(self._begin_next, context=Context())
        return request.answer

    async def settle(self) -> None:
        """Return when nothing is under way, nor will be. A closed event loop has taken its requests along; what it
        began, the connection's thread ends."""
        if self._is_at_work and self.loop is asyncio.get_running_loop():
            settled: asyncio.Future[None] = self.loop.create_future()
            self._settling.append(settled)
            await settled

    def _begin_next(self) -> None:
        group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
        self._is_alone, self._were_alone = self._were_alone and len(group) == 1, len(group) == 1
        self._connection.put(partial(self._on_thread, asyncio.get_running_loop(), group))

    def _wait_for_more(self, expected: int, turns: int) -> None:
        """Begin the next group when so many requests wait, or after some turns of the loop.

        The runs of the group that ended go on together, and most commit again within these turns. Without the wait, the
        requests that came during its transaction would be a transaction of their own, and so would be those of the same
        runs ever after: two transactions for each superstep of all runs.
        """
        if turns and len(self._waiting) < expected:
            asyncio.get_running_loop().call_soon(self._wait_for_more, expected, turns - 1)
        else:
            self._begin_next()

    def _ended(self, group: Sequence[WriteRequest], outcomes: Sequence[Any]) -> None:
        if not self._waiting:
            self._is_at_work = False
        else:
            self._wait_for_more(min(len(group) + len(self._waiting), _LARGEST_GROUP), _TURNS)
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

    def _on_thread(
        self, loop: asyncio.AbstractEventLoop, group: Sequence[WriteRequest], db: sqlite3.Connection
    ) -> None:
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

    def _together(self, db: sqlite3.Connection, group: Sequence[WriteRequest]) -> Sequence[Any]:
        try:
            return self._transaction(db, group, prepares=True)
        except StoreUnavailableError:
            # The file was locked for the whole time limit: waiting again for each request would only take longer.
            raise
        except Exception as error:
            # A single write is made again only for a row that is stored already: then it should not have been prepared.
            if len(group) == 1 and not isinstance(error, sqlite3.IntegrityError):
                raise
            _logger.debug("%d writes are made one by one: %s", len(group), logged(error))
        # The error of one request rolled all of them back. In separate transactions, only that request fails.
        return [self._alone(db, request) for request in group]

    def _alone(self, db: sqlite3.Connection, request: WriteRequest) -> Any:
        try:
            return self._transaction(db, [request], prepares=False)[0]
        except Exception as error:
            return self._failure(error, request)

    def _failure(self, error: Exception, request: WriteRequest) -> Exception:
        if isinstance(error, UnicodeEncodeError | UnicodeDecodeError):
            failure = of_text(str(self._connection.path), error, request.thread)
        elif isinstance(error, sqlite3.Error):
            failure = self._connection.failure(error, request.thread)
        else:
            return error
        failure.__cause__ = error
        return failure

    def _transaction(self, db: sqlite3.Connection, group: Sequence[WriteRequest], *, prepares: bool) -> list[Any]:
        def attempt() -> list[Any]:
            with committing(db, begin):
                self._connection.check_still_there()
                return [_result(db, request.wanted, prepares=prepares) for request in group]

        return self._connection.retry.until_free(attempt)


def _result(db: sqlite3.Connection, wanted: Wanted, *, prepares: bool) -> Any:
    """Make a write and return its result: the prepared write, if there is one and the thread is as it expects."""
    if prepares and isinstance(wanted, CommitUnit | WritesBatch):
        write = prepare(wanted)
        if write is not None and _make(db, write):
            return write.result
    return run(db, begun(wanted)).result


def _make(db: sqlite3.Connection, write: PreparedWrite) -> bool:
    """Whether the thread's row was the expected one, so that the write is made. Otherwise nothing is changed.
    Nor is a run ended that has an update left, because its thread is not done then: a transaction decides.

    Raises `sqlite3.IntegrityError` for a row that is stored already. The caller rolls back.
    """
    if any(_has_update_left(db, change) for change in write.runs):
        return False
    after, before = write.after, write.before
    columns = thread_columns(after, after.row.thread)
    if before is None:
        db.execute(SQL["add_thread"], columns)
    else:
        # The new row has the same epoch, so that one parameter is both.
        columns["before"] = before.digest
        known, row = before.row, after.row
        has_status = (known.status, known.status_since) == (row.status, row.status_since)
        if not db.execute(SQL["swap_thread" if has_status else "swap_status"], columns).rowcount:
            return False
        if known.status == "deleted":
            db.execute(SQL["name_thread"], columns)
    for name, added in (
        ("add_checkpoint", write.checkpoints()),
        ("add_channel_row", write.values()),
        ("add_record", write.tasks()),
    ):
        if added:
            db.executemany(SQL[name], added)
    if write.branch is not None:
        db.execute(SQL["add_branch"], (write.key, *write.branch, b""))
    for change in write.runs:
        db.execute(SQL[change.name], change.sought)
    return True


def _has_update_left(db: sqlite3.Connection, change: Query) -> bool:
    ends = change.name == "update_run" and change.sought["state"] == RunState.DONE
    return ends and bool(rows(db, "find_run_with_update", change.sought))
