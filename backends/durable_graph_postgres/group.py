"""Group commit: writes that arrive while a statement runs share the next statement.

Each thread's requests keep their order. A request that cannot be prepared, that the statement does not apply, or whose
statement fails, runs in a separate transaction, which determines its outcome.
"""

import asyncio
import logging
from collections import deque
from contextvars import Context
from functools import partial
from typing import Any

import asyncpg

from durable_graph.checkpointing import CommitHandle, transactions
from durable_graph.checkpointing.prepared import PreparedWrite, prepare
from durable_graph.checkpointing.transactions import Wanted, WriteRequest, WriteResult, begun
from durable_graph.errors.shown import logged
from durable_graph.records import CommitUnit, WritesBatch
from durable_graph_postgres.database import Database
from durable_graph_postgres.identifiers import too_long
from durable_graph_postgres.prepared_writes import is_one_statement, statement
from durable_graph_postgres.session import Session

_LARGEST_GROUP = 256
_TURNS = 4
"""The turns of the event loop from the result of a run's commit to its next one, if its node does not wait."""
_LARGEST_STATEMENT = 16 * 1024 * 1024
"""In stored bytes. Servers refuse statements of a gigabyte, and a large write delays the others in its statement."""

_logger = logging.getLogger("durable_graph")


class GroupCommit:
    """Sends writes in as few statements as possible, in tasks that it owns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, deque[WriteRequest]] = {}
        self._busy: set[str] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()

    def begin(self, thread: str, wanted: Wanted) -> CommitHandle[Any]:
        """The result of the write, once it is durable. Cancelling the caller neither stops nor tears it."""
        request = WriteRequest(thread, wanted)
        queue = self._waiting.get(thread)
        if queue is None:
            queue = self._waiting[thread] = deque()
        queue.append(request)
        if self._flushing is None and thread not in self._busy:
            self._begin_flush()
        return request.answer

    async def settle(self) -> None:
        """Wait until no write is pending."""
        while pending := {*self._alone, *([self._flushing] if self._flushing else [])}:
            await asyncio.wait(pending)

    def _wake(self) -> None:
        if self._flushing is None and any(thread not in self._busy for thread in self._waiting):
            self._begin_flush()

    def _begin_flush(self) -> None:
        # The task gets an empty context, because it serves all callers and not only the first.
        self._flushing = asyncio.get_running_loop().create_task(self._flush(), context=Context())
        # An event loop that shuts down may cancel the task before it starts: no `finally` in it would run.
        self._flushing.add_done_callback(self._flushed)

    def _flushed(self, _: "asyncio.Task[None]") -> None:
        self._flushing = None
        if self._waiting:
            self._wake()

    async def _flush(self) -> None:
        while group := self._next_group():
            writes: dict[int, tuple[WriteRequest, PreparedWrite]] = {}
            for request in group:
                write = _prepared(request)
                if write is None or write.key in writes:
                    self._begin_alone(request)
                else:
                    writes[write.key] = request, write
            if writes:
                await self._send(writes)
            if self._waiting:
                await self._wait_for_more(min(len(group) + len(self._waiting), _LARGEST_GROUP))

    async def _wait_for_more(self, expected: int) -> None:
        """Return when writes of so many threads wait, or after some turns of the loop.

        The runs of the group that was sent go on together, and most commit again within these turns. Without the wait,
        the writes that came meanwhile would be a statement of their own, and so would be those of the same runs ever
        after: two statements for each superstep of all runs.
        """
        for _ in range(_TURNS):
            if len(self._waiting) >= expected:
                return
            await asyncio.sleep(0)

    def _next_group(self) -> list[WriteRequest]:
        group: list[WriteRequest] = []
        busy, waiting, size = self._busy, self._waiting, 0
        for thread in list(waiting):
            if thread in busy:
                continue
            queue = waiting[thread]
            size += _size_of(queue[0])
            if group and (size > _LARGEST_STATEMENT or len(group) == _LARGEST_GROUP):
                break
            del waiting[thread]
            group.append(queue.popleft())
            busy.add(thread)
            if queue:
                # Moved behind all others: a thread that always has more requests must not starve them.
                waiting[thread] = queue
        return group

    async def _send(self, writes: dict[int, tuple[WriteRequest, PreparedWrite]]) -> None:
        try:
            name, given = statement([write for _, write in writes.values()])
            found = await self._database.make(name, given)
        except Exception as error:
            _logger.debug("%d writes are made one by one: %s", len(writes), logged(error))
            # Every kind of error comes here, because event loops raise their own errors for a lost connection. Either
            # all writes were made or none, and a damaged thread concerns only its own requests. So each request runs
            # again in a separate transaction, and gets its own result or error.
            for request, write in writes.values():
                self._begin_alone(request, WriteResult(write.result, write.after))
            return
        except BaseException:
            for request, _ in writes.values():
                self._busy.discard(request.thread)
                request.answer.set_error(asyncio.CancelledError())
            raise
        for (key,) in found:
            request, write = writes.pop(key)
            self._busy.discard(request.thread)
            request.answer.set_result(write.result)
        for request, _ in writes.values():
            self._begin_alone(request)

    def _begin_alone(self, request: WriteRequest, tried: WriteResult[Any] | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._make_alone(request, tried), context=Context())
        self._alone.add(task)
        task.add_done_callback(partial(self._made_alone, request))

    def _made_alone(self, request: WriteRequest, task: "asyncio.Task[None]") -> None:
        self._alone.discard(task)
        if not request.answer.is_done:
            request.answer.set_error(asyncio.CancelledError())
        self._busy.discard(request.thread)
        self._wake()

    async def _make_alone(self, request: WriteRequest, tried: WriteResult[Any] | None) -> None:
        """Make a write in a separate transaction. `tried` is the result of an earlier attempt, which may have been
        committed or not."""

        async def attempt(db: Session) -> WriteResult[Any]:
            nonlocal tried
            # Without a thread's row, the result does not show whether it was committed: the transaction runs again.
            known = None if tried is None else tried.thread
            if tried is None or known is None or not await db.run(transactions.is_at(request.thread, known)):
                try:
                    tried = await db.run(begun(request.wanted))
                except asyncpg.ProgramLimitExceededError as error:
                    raise too_long(request.thread, request.wanted) from error
            return tried

        try:
            made = await self._database.write(attempt, request.thread)
        except Exception as error:
            request.answer.set_error(error)
        else:
            request.answer.set_result(made.result)


def _prepared(request: WriteRequest) -> PreparedWrite | None:
    wanted = request.wanted
    if not isinstance(wanted, CommitUnit | WritesBatch):
        return None
    try:
        write = prepare(wanted)
        return write if write is None or not write.runs or is_one_statement(write) else None
    except Exception:
        # In a separate transaction, the request raises the same error, to its own caller only.
        return None


def _size_of(request: WriteRequest) -> int:
    """The approximate number of stored bytes."""
    wanted, size = request.wanted, 0
    if isinstance(wanted, CommitUnit):
        for new in wanted.checkpoints:
            size += len(new.row.header)
            for value in new.values:
                size += len(value.value)
    if isinstance(wanted, CommitUnit | WritesBatch):
        for record in wanted.records:
            size += len(record.value)
    return size
