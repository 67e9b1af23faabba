"""Group commit: writes that arrive while a statement runs share the next statement.

Each thread's requests keep their order. A request that cannot be prepared, that the statement does not apply, or whose
statement fails, runs in a separate transaction, which determines its outcome.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, NamedTuple

import asyncpg

from durable_graph.checkpointing import CommitHandle
from durable_graph.records import CommitUnit, WritesBatch
from durable_graph_postgres import writing
from durable_graph_postgres.database import Database
from durable_graph_postgres.knowledge import Knowledge
from durable_graph_postgres.moves import Move, digest_of, move_of, parameters, plain_parameters
from durable_graph_postgres.names import too_long
from durable_graph_postgres.session import Session
from durable_graph_postgres.writing import Wrote

_LARGEST_GROUP = 256
_LARGEST_STATEMENT = 16 * 1024 * 1024
"""In stored bytes. Servers refuse statements of a gigabyte, and a large write delays the others in its statement."""

Other = Callable[[Session], Awaitable[Wrote]]


class Request(NamedTuple):
    """A write that was asked for, and its result."""

    thread: str
    wanted: CommitUnit | WritesBatch | Other
    answer: CommitHandle[Any]


class GroupCommit:
    """Sends writes in as few statements as possible, in tasks that it owns."""

    def __init__(self, database: Database, knowledge: Knowledge) -> None:
        self._database = database
        self._knowledge = knowledge
        self._waiting: dict[str, deque[Request]] = {}
        self._busy: set[str] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()

    def begin(self, thread: str, wanted: CommitUnit | WritesBatch | Other) -> CommitHandle[Any]:
        """What became of it, once that is durable. Cancelling the caller neither stops nor tears it."""
        request = Request(thread, wanted, CommitHandle())
        self._waiting.setdefault(thread, deque()).append(request)
        self._wake()
        return request.answer

    async def settle(self) -> None:
        """Wait until no write is pending."""
        while pending := {*self._alone, *([self._flushing] if self._flushing else [])}:
            await asyncio.wait(pending)

    def _wake(self) -> None:
        if self._flushing is None and any(thread not in self._busy for thread in self._waiting):
            # The task gets an empty context, because it serves all callers and not only the first.
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), context=Context())
            # An event loop that shuts down may cancel the task before it starts: no `finally` in it would run.
            self._flushing.add_done_callback(self._flushed)

    def _flushed(self, _: "asyncio.Task[None]") -> None:
        self._flushing = None
        self._wake()

    async def _flush(self) -> None:
        while group := self._next_group():
            moves: dict[int, tuple[Request, Move]] = {}
            for request in group:
                move = self._move_of(request)
                if move is None or move.tid in moves:
                    self._begin_alone(request)
                else:
                    moves[move.tid] = request, move
            if moves:
                await self._send(moves)

    def _next_group(self) -> list[Request]:
        group: list[Request] = []
        size = 0
        for thread in [thread for thread in self._waiting if thread not in self._busy][:_LARGEST_GROUP]:
            size += _size_of(self._waiting[thread][0])
            if group and size > _LARGEST_STATEMENT:
                break
            queue = self._waiting.pop(thread)
            group.append(queue.popleft())
            self._busy.add(thread)
            if queue:
                # Moved behind all others: a thread that always has more requests must not starve them.
                self._waiting[thread] = queue
        return group

    def _move_of(self, request: Request) -> Move | None:
        if not isinstance(request.wanted, CommitUnit | WritesBatch):
            return None
        try:
            return move_of(request.wanted, self._knowledge.of(request.thread))
        except Exception:
            # In a separate transaction, the request raises the same error, to its own caller only.
            return None

    async def _send(self, moves: dict[int, tuple[Request, Move]]) -> None:
        try:
            name, given = _statement([move for _, move in moves.values()])
            made = {tid for (tid,) in await self._database.once_in_turn(lambda db: db.rows(name, *given))}
        except Exception:
            # Every kind of error comes here, because event loops raise their own errors for a lost connection. Either
            # all writes were made or none, and a damaged thread concerns only its own requests. So each request runs
            # again in a separate transaction, and gets its own result or error.
            for request, move in moves.values():
                self._begin_alone(request, Wrote(move.result, move.known))
            return
        except BaseException:
            for request, _ in moves.values():
                self._busy.discard(request.thread)
                request.answer.set_error(asyncio.CancelledError())
            raise
        for tid, (request, move) in moves.items():
            if tid in made:
                self._knowledge.learn(request.thread, move.known, move.digest, move.places)
                self._busy.discard(request.thread)
                request.answer.set_result(move.result)
            else:
                self._begin_alone(request)

    def _begin_alone(self, request: Request, tried: Wrote | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._make_alone(request, tried), context=Context())
        self._alone.add(task)
        task.add_done_callback(partial(self._made_alone, request))

    def _made_alone(self, request: Request, task: "asyncio.Task[None]") -> None:
        self._alone.discard(task)
        if not request.answer.is_done:
            request.answer.set_error(asyncio.CancelledError())
        self._busy.discard(request.thread)
        self._wake()

    async def _make_alone(self, request: Request, tried: Wrote | None) -> None:
        """Make a write in a separate transaction. `tried` is the result of an earlier attempt, which may have been
        committed or not."""

        async def attempt(db: Session) -> Wrote:
            nonlocal tried
            if tried is None or not await writing.is_at(db, request.thread, tried.known):
                try:
                    tried = await _written(db, request)
                except asyncpg.ProgramLimitExceededError as error:
                    raise too_long(request.thread, request.wanted) from error
            return tried

        try:
            wrote = await self._database.write(attempt, request.thread)
        except Exception as error:
            self._knowledge.forget(request.thread)
            request.answer.set_error(error)
        else:
            self._learn(request, wrote)
            request.answer.set_result(wrote.result)

    def _learn(self, request: Request, wrote: Wrote) -> None:
        if wrote.known is None or not isinstance(request.wanted, CommitUnit | WritesBatch):
            self._knowledge.forget(request.thread)
            return
        places = frozenset((each.ns, each.born, each.ord) for each in request.wanted.records)
        self._knowledge.learn(request.thread, wrote.known, digest_of(wrote.known), places)


async def _written(db: Session, request: Request) -> Wrote:
    if isinstance(request.wanted, CommitUnit):
        return await writing.commit(db, request.wanted)
    if isinstance(request.wanted, WritesBatch):
        return await writing.save_writes(db, request.wanted)
    return await request.wanted(db)


def _statement(moves: list[Move]) -> tuple[str, list[Any]]:
    """The name of the statement for these prepared writes, and its parameters."""
    if len(moves) == 1 and moves[0].is_plain:
        return "apply_plain", plain_parameters(moves[0])
    return "apply", parameters(moves)


def _size_of(request: Request) -> int:
    """The approximate number of stored bytes."""
    if not isinstance(request.wanted, CommitUnit | WritesBatch):
        return 0
    size = sum(len(record.value) for record in request.wanted.records)
    if isinstance(request.wanted, CommitUnit):
        for new in request.wanted.checkpoints:
            size += len(new.row.header) + sum(len(value.value) for value in new.values)
    return size
