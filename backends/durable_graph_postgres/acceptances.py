"""Runs that are accepted while a statement runs share the next statement."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextvars import Context
from typing import Any, NamedTuple

from durable_graph.checkpointing.columns import key_of, thread_columns
from durable_graph.checkpointing.fresh_threads import fresh_thread
from durable_graph.errors.shown import logged
from durable_graph.records import RequestRow, StoredThread
from durable_graph.run_records import Accepted, Claim, NewRun, RunState
from durable_graph_postgres.database import Database
from durable_graph_postgres.keyed_acceptance import Base, thread_after
from durable_graph_postgres.statements import PARAMETERS

_LARGEST_GROUP = 256
_LARGEST_STATEMENT = 16 * 1024 * 1024
"""In bytes of the runs. Servers refuse statements of a gigabyte."""

_logger = logging.getLogger("durable_graph")


class Claimer(NamedTuple):
    """The worker that claims a run at its acceptance (0: no worker), and the offset of the clock of its lease."""

    worker: int = 0
    lease_skew: int = 0


NOBODY = Claimer()

Made = tuple[Accepted, Claim | None]


class _Asked(NamedTuple):
    run: NewRun
    skew: int
    claimer: Claimer
    base: Base | None
    answer: "asyncio.Future[Made | None]"


class Acceptances:
    """Accepts runs of new threads, and runs of existing threads: in one statement for many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Asked] = []
        self._group: dict[int, _Asked] = {}
        self._sending: asyncio.Task[None] | None = None
        # The server's clock minus this process's, in microseconds.
        self._offset: int | None = None

    async def accept(self, run: NewRun, skew: int, claimer: Claimer = NOBODY, base: Base | None = None) -> Made | None:
        """The result and the claim, once they are durable. None if a transaction has to decide: the statement made no
        change, or its reply was lost. A run with a key on an existing thread needs a base."""
        if run.formerly:
            return None
        answer: asyncio.Future[Made | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(run, skew, claimer, base, answer))
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
                made = await self._send(list(self._group.values()))
            except Exception as error:
                # Of the server, of the connection or of the event loop. The transaction of each run meets it too.
                _logger.debug("%d runs are accepted one by one: %s", len(self._group), logged(error))
                made = {}
            group, self._group = self._group, {}
            for key, asked in group.items():
                _resolve(asked, made.get(key))

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

    async def _send(self, group: Sequence[_Asked]) -> dict[int, Made]:
        if self._offset is None:
            ((now,),) = await self._database.once(lambda db: db.rows("store_time"))
            self._offset = now - _local_time()
        now = _local_time() + self._offset
        threads = {key_of(asked.run.thread): thread_after(asked.run, asked.base, now + asked.skew) for asked in group}
        rows = [_columns(asked, *threads[key_of(asked.run.thread)]) for asked in group]
        given = [[row[name] for row in rows] for name in PARAMETERS["accept_runs"]]
        runs = {key_of(asked.run.thread): asked for asked in group}
        made: dict[int, Made] = {}
        for key, seq, state, now, *others in await self._database.once(lambda db: db.rows("accept_runs", *given)):
            self._offset = now - _local_time()
            if key is not None:
                run = runs[key].run
                accepted = Accepted(seq, is_new=True, state=RunState(state), input_digest=run.input_digest)
                is_claimed = accepted.state is RunState.RUNNING
                claim = _claim(runs[key], threads[key][0], seq, now, *others) if is_claimed else None
                made[key] = accepted, claim
        return made


def _columns(asked: _Asked, stored: StoredThread, request: RequestRow | None) -> dict[str, Any]:
    """The columns of the run, and those of its thread and its request if the thread is new."""
    run, claimer, base = asked.run, asked.claimer, asked.base
    return {
        **thread_columns(stored, run.thread),
        # An existing thread gets it if the run is claimed at once.
        "epoch": run.epoch,
        "seq": stored.row.created_at if request is None else request.seq,
        "key": run.key,
        "request_digest": None if request is None else request.digest,
        "made_at": 0 if request is None else request.made_at,
        "before": None if base is None else base.thread.digest,
        "last_seq": 0 if base is None else base.last_seq,
        "priority": run.priority,
        "skew": asked.skew,
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
        # A queue with limits has claims of its own.
        "worker": 0 if run.limit_key else claimer.worker,
        "limit_key": run.limit_key,
        "lease_skew": claimer.lease_skew,
        "parent_key": run.parent_key,
        "parent_seq": run.parent_seq,
        "on_parent": run.on_parent,
    }


def _claim(
    asked: _Asked,
    stored: StoredThread,
    seq: int,
    now: int,
    version: int,
    inbox: int,
    deadline: int,
    request: int,
    is_begun: bool,  # a column
) -> Claim:
    """The claim of a run that its statement has given to its worker."""
    run = asked.run
    return Claim(
        thread=run.thread,
        seq=seq,
        graph=run.graph,
        input=run.input,
        options=run.options,
        context=run.context,
        first_checkpoint=0,
        checkpoint=0,
        deadline=deadline,
        attempt=1,
        crashes=0,
        inbox=inbox,
        request=request,
        from_checkpoint=None,
        epoch=run.epoch,
        version=version,
        now=now + asked.skew,
        parent_key=run.parent_key,
        fresh=fresh_thread(stored) if is_begun else None,
    )


def _local_time() -> int:
    return time.time_ns() // 1000


def _resolve(asked: _Asked, made: Made | None) -> None:
    # It is done if its caller was cancelled.
    if not asked.answer.done():
        asked.answer.set_result(made)
