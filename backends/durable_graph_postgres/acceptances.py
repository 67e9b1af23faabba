"""Runs that are accepted while a statement runs share the next statement."""

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context
from typing import Any, NamedTuple

from durable_graph.checkpointing.columns import key_of, signed, thread_columns
from durable_graph.checkpointing.digests import add, request_digest
from durable_graph.checkpointing.rules import accepted_thread
from durable_graph.records import RequestRow, Sums
from durable_graph.run_records import Accepted, NewRun, RunState
from durable_graph_postgres.database import Database
from durable_graph_postgres.statements import PARAMETERS

_LARGEST_GROUP = 256
_LARGEST_STATEMENT = 16 * 1024 * 1024
"""In bytes of the runs. Servers refuse statements of a gigabyte."""


class _Asked(NamedTuple):
    run: NewRun
    skew: int
    answer: "asyncio.Future[Accepted | None]"


class Acceptances:
    """Accepts runs of new threads, and runs without a key of existing threads: in one statement for many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Asked] = []
        self._group: dict[int, _Asked] = {}
        self._sending: asyncio.Task[None] | None = None
        # The server's clock minus this process's, in microseconds.
        self._offset: int | None = None

    async def accept(self, run: NewRun, skew: int) -> Accepted | None:
        """The result, once it is durable. None if a transaction has to decide: nothing was changed, or it is unknown
        whether something was."""
        if run.formerly:
            return None
        answer: asyncio.Future[Accepted | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(run, skew, answer))
        if self._sending is None:
            self._begin()
        return await answer

    async def settle(self) -> None:
        """Wait until no run is pending."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    def _begin(self) -> None:
        # The task gets an empty context, because it serves all callers and not only the first.
        self._sending = asyncio.get_running_loop().create_task(self._send_all(), context=Context())
        # An event loop that shuts down may cancel the task before it starts: no `finally` in it would run.
        self._sending.add_done_callback(self._sent)

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending = None
        if task.cancelled():
            unanswered, self._waiting, self._group = [*self._group.values(), *self._waiting], [], {}
            for asked in unanswered:
                _resolve(asked, None)
        elif self._waiting:
            # They came after the task had ended.
            self._begin()

    async def _send_all(self) -> None:
        while self._waiting:
            self._group = self._next_group()
            try:
                accepted = await self._send(list(self._group.values()))
            except Exception:
                # Of the server, of the connection or of the event loop. The transaction of each run meets it too.
                accepted = {}
            group, self._group = self._group, {}
            for key, asked in group.items():
                _resolve(asked, accepted.get(key))

    def _next_group(self) -> dict[int, _Asked]:
        """The next runs, one for each thread."""
        group: dict[int, _Asked] = {}
        left, size = [], 0
        for asked in self._waiting:
            run = asked.run
            key = key_of(run.thread)
            size += len(run.input) + len(run.options) + len(run.context)
            if group and (key in group or len(group) == _LARGEST_GROUP or size > _LARGEST_STATEMENT):
                left.append(asked)
            else:
                group[key] = asked
        self._waiting = left
        return group

    async def _send(self, group: Sequence[_Asked]) -> dict[int, Accepted]:
        if self._offset is None:
            ((now,),) = await self._database.once(lambda db: db.rows("store_time"))
            self._offset = now - _local_time()
        now = _local_time() + self._offset
        rows = [_columns(asked.run, now, asked.skew) for asked in group]
        given = [[row[name] for row in rows] for name in PARAMETERS["accept_runs"]]
        digests = {key_of(asked.run.thread): asked.run.input_digest for asked in group}
        accepted = {}
        for key, seq, state, now in await self._database.once(lambda db: db.rows("accept_runs", *given)):
            self._offset = now - _local_time()
            if key is not None:
                accepted[key] = Accepted(seq, is_new=True, state=RunState(state), input_digest=digests[key])
        return accepted


def _columns(run: NewRun, now: int, skew: int) -> dict[str, Any]:
    """The columns of the run, and those of its thread and its request if the thread is new."""
    # The digest of a request covers the run's number, so that of a new thread's first run is assigned here.
    at = now + skew
    row, sums, request = accepted_thread(run, None, at), Sums(), None
    if run.key is not None:
        unsigned = RequestRow(run.key, run.input_digest, at, 0, at, b"")
        request = RequestRow(run.key, run.input_digest, at, 0, at, request_digest(row.origin, unsigned))
        sums = Sums(requests=add(sums.requests, request.digest))
    return {
        **thread_columns(signed(row, sums, 0), run.thread),
        "seq": at,
        "key": run.key,
        "request_digest": None if request is None else request.digest,
        "priority": run.priority,
        "skew": skew,
        "delay": run.delay,
        "time_limit": run.time_limit,
        # A run that cancels others is left to a transaction while the thread is busy.
        "waits": run.if_busy == "wait",
        "queue": run.queue,
        "input_digest": run.input_digest,
        "input": run.input,
        "options": run.options,
        "context": run.context,
        "token": run.token,
        "run_metadata": run.metadata or None,
    }


def _local_time() -> int:
    return time.time_ns() // 1000


def _resolve(asked: _Asked, accepted: Accepted | None) -> None:
    # It is done if its caller was cancelled.
    if not asked.answer.done():
        asked.answer.set_result(accepted)
