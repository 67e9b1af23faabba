"""Reads of the runs of one worker: the reads that are requested in one turn of the event loop share a statement.

The runs of a claim begin in the same turn, so waking 64 runs loads their threads in one statement, and reads their
inboxes in another one. A thread is not read before its run requests it: the result is as fresh as a read of this run
alone, and the claim's epoch is compared with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import Message

T = TypeVar("T")
W = TypeVar("W")

_LARGEST_GROUP = 64


class Group(Generic[W, T]):
    """Calls for one thread each, grouped into calls for many threads. A thread occurs once in a group."""

    def __init__(self, call: Callable[[Mapping[str, W]], Awaitable[Mapping[str, T]]]) -> None:
        self._call = call
        self._wanted: dict[str, W] = {}
        self._answers: dict[str, asyncio.Future[T | None]] = {}
        self._calls: set[asyncio.Task[Mapping[str, T]]] = set()

    def ask(self, thread: str, wanted: W) -> "asyncio.Future[T | None]":
        """The result for the thread, None if it was left out. It is read after this call."""
        loop = asyncio.get_running_loop()
        if thread in self._answers or len(self._answers) == _LARGEST_GROUP:
            self._send()
        if not self._answers:
            # Behind the executions that are about to begin in this turn of the loop.
            loop.call_soon(self._send, context=Context())
        self._wanted[thread] = wanted
        answer: asyncio.Future[T | None] = loop.create_future()
        self._answers[thread] = answer
        return answer

    def _send(self) -> None:
        wanted, answers = self._wanted, self._answers
        if not answers:
            return
        self._wanted, self._answers = {}, {}
        task = asyncio.get_running_loop().create_task(self._made(wanted), context=Context())
        self._calls.add(task)
        task.add_done_callback(partial(self._has_ended, answers))

    async def _made(self, wanted: Mapping[str, W]) -> Mapping[str, T]:
        return await self._call(wanted)

    def _has_ended(
        self, answers: "Mapping[str, asyncio.Future[T | None]]", call: "asyncio.Task[Mapping[str, T]]"
    ) -> None:
        self._calls.discard(call)
        error = None if call.cancelled() else call.exception()
        for thread, answer in answers.items():
            # The future is done already if its caller was cancelled.
            if answer.done():
                continue
            if call.cancelled():
                answer.cancel()
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(call.result().get(thread))


class GroupedReads:
    """Loads threads and reads inboxes for the runs that one worker executes."""

    def __init__(self, saver: Checkpointer, runs: RunStore) -> None:
        self._saver, self._runs = saver, runs
        self._loads: Group[None, StoredCheckpoint] = Group(self._load_many)
        self._inboxes: Group[Collection[str], list[Message]] = Group(runs.inboxes)

    async def load(self, thread: str) -> StoredCheckpoint | None:
        """As `Checkpointer.load`, which also raises the error of a thread that cannot be loaded."""
        found = await self._loads.ask(thread, None)
        return found if found is not None else await self._saver.load(thread)

    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        """As `RunStore.inbox`."""
        return await self._inboxes.ask(thread, topics) or []

    async def _load_many(self, threads: Mapping[str, None]) -> Mapping[str, StoredCheckpoint]:
        try:
            return await self._runs.load_many(list(threads), self._saver.max_value_bytes)
        except CorruptCheckpointError:
            # A row of one thread is damaged. Each is loaded by itself, and raises its own error.
            return {}
