"""The event log of a run that a worker executes: the sink of its events, and the rows that wait to be stored.

Without a follower no event is built or stored. Custom events and messages are sent together, up to `PAUSE` later, or
before the next save or commit of the run, so the store has them in their order.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from durable_graph._engine.task import Outcome
from durable_graph._runtime.events.model import AnyEvent, CustomEvent, MessageEvent, TaskStarted
from durable_graph._runtime.events.stored import rows_of_records, wait_row
from durable_graph.checkpointing.event_log import FIRST_ROW, MOST_ID, POSITIONS, EventLog
from durable_graph.checkpointing.event_transactions import placed
from durable_graph.errors import StreamOverflowError, UnstorableValueError
from durable_graph.graph import Topology
from durable_graph.records import TaskRecord
from durable_graph.run_records import EventKind, EventRow

PAUSE = 0.05
"""In seconds: how long an event waits for others that are stored with it."""
BATCH = 8 * 1024
"""In bytes: pending events of this size are sent at once."""
MOST_PENDING = 10_000
MOST_PENDING_BYTES = 64 * 1024 * 1024


class RunLog:
    """The events of one execution of a run. See `EventSink`.

    `notify` is called with the thread whenever followers may find new events.
    """

    takes_messages = True

    def __init__(
        self,
        log: EventLog,
        thread: str,
        seq: int,
        epoch: int,
        topology: Topology,
        max_value_bytes: int,
        notify: Callable[[str], None],
    ) -> None:
        self.is_active: bool = False
        self._has_begun = self._is_stopped = False
        self.pending: list[EventRow] = []
        self._log, self._notify = log, notify
        self._thread, self._seq, self._epoch = thread, seq, epoch
        self._topology, self._max_value_bytes = topology, max_value_bytes
        self._version, self._position = 0, FIRST_ROW - 1
        # The tasks with stored custom events or messages that are not void.
        self._tasks: set[str] = set()
        self._size = 0
        self._wait: EventRow | None = None
        self._recorded: tuple[int, list[EventRow]] = (0, [])
        self._send: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home = 0

    # Beginning

    async def begin(self) -> bool:
        """Store the run's events from here on. False if they are stored already, or the log was stopped."""
        if self.is_active or self._is_stopped:
            return False
        self._has_begun = True
        found = await self._log.open_events(self._thread, self._seq)
        if found is None or self.is_active or self._is_stopped:
            return False
        self._version, self._position, self._tasks = found.version, found.position, set(found.tasks)
        self._loop, self._home = asyncio.get_running_loop(), threading.get_ident()
        self.is_active = True
        return True

    async def missing(self, keys: Iterable[tuple[str, int, int]]) -> set[tuple[str, int, int]]:
        """The records whose results are not in the log yet."""
        known = await self._log.results(self._thread, self._seq, MOST_ID)
        return set(keys) - set(known)

    def catch_up(self, records: Iterable[TaskRecord], version: int) -> None:
        """Store the results of these records as events, if the thread is still at this version."""
        self._recorded = version, rows_of_records(records, time.time())
        if self._recorded[1]:
            self._flush()

    def connect(self, send: Callable[[], None]) -> None:
        """`send` sends the pending events."""
        self._send = send

    def stop(self) -> None:
        """Store nothing more: the execution sends nothing any more. Whoever waits for room goes on."""
        self.is_active, self._is_stopped = False, True
        self._drop_timer()
        self._recorded, self.pending, self._size = (0, []), [], 0
        self._room.set()

    def leave(self) -> None:
        """The execution has ended. If nobody follows it, nothing is stored any more, and the log releases its sender:
        the two refer to each other, and would stay in memory until the next garbage collection."""
        if not self._has_begun:
            self._is_stopped, self._send = True, None

    def has_moved(self) -> None:
        """Followers may find new events."""
        if self.is_active:
            self._notify(self._thread)

    def committed(self, version: int) -> None:
        """The thread is at this version: positions start again."""
        if version > self._version:
            self._version, self._position = version, FIRST_ROW - 1
        self.has_moved()

    # Rows

    @property
    def has_pending(self) -> bool:
        """Whether events wait to be stored."""
        return bool(self.pending or self._recorded[1])

    def take(self, version: int) -> list[EventRow]:
        """The pending events, at their places of this version of the thread."""
        self._drop_timer()
        at, recorded = self._recorded
        rows = [*(recorded if at == version else ()), *self.pending]
        self._recorded, self.pending, self._size = (0, []), [], 0
        self._room.set()
        return self._at(version, rows)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def append(self, rows: list[EventRow]) -> bool:
        """Store events. False if another worker holds the run."""
        return await self._log.append(self._thread, self._epoch, rows)

    def of_save(self, records: Iterable[TaskRecord], version: int, *, waits: bool) -> tuple[EventRow, ...]:
        """The events of a save at this version; `waits`: the run waits after it."""
        rows = rows_of_records(records, time.time())
        if waits:
            rows.append(self._wait or wait_row({}, time.time()))
            self._wait = None
        return tuple(self._at(version, rows))

    def of_wait(self, version: int) -> tuple[EventRow, ...]:
        """The event of a commit with which the run stops at a breakpoint."""
        replace = msgspec.structs.replace
        row = replace(wait_row({}, time.time()), seq=self._seq, epoch=self._epoch)
        return tuple(placed([row], version, FIRST_ROW - 1))

    def waits(self, outcomes: Mapping[tuple[int, int], Outcome]) -> None:
        """The run is about to wait, with these outcomes of its superstep."""
        self._wait = wait_row(outcomes, time.time())

    def _at(self, version: int, rows: Iterable[EventRow]) -> list[EventRow]:
        if version > self._version:
            self._version, self._position = version, FIRST_ROW - 1
        replace = msgspec.structs.replace
        own = [replace(row, seq=self._seq, epoch=self._epoch) for row in rows]
        found = placed(own, version, self._position)
        self._position += len(found)
        return found

    # The sink

    async def emit(self, event: AnyEvent) -> None:
        """See `EventSink.emit`."""
        self._take(event)
        await self.room()

    def emit_nowait(self, event: AnyEvent) -> None:
        """See `EventSink.emit_nowait`."""
        self._take(event)

    def push(self, event: AnyEvent) -> None:
        """See `EventSink.push`."""
        if self._loop is not None and threading.get_ident() != self._home:
            # The caller is a worker thread, which may block.
            asyncio.run_coroutine_threadsafe(self.emit(event), self._loop).result()
            return
        if len(self.pending) >= MOST_PENDING or self._size > MOST_PENDING_BYTES:
            raise StreamOverflowError(len(self.pending))
        self._take(event)

    async def room(self) -> None:
        """See `EventSink.room`."""
        while len(self.pending) >= MOST_PENDING or self._size > MOST_PENDING_BYTES:
            self._room.clear()
            self._flush()
            await self._room.wait()

    def _take(self, event: AnyEvent) -> None:
        if not self.is_active:
            # It was stopped since its caller looked.
            return
        match event:
            case TaskStarted():
                if event.task_id in self._tasks:
                    self._tasks.discard(event.task_id)
                    self._add(EventKind.RETRACTED, event.task_id, self._encoded(event, event.node))
            case CustomEvent():
                self._tasks.add(event.task_id)
                self._add(EventKind.CUSTOM, event.task_id, self._encoded(event, event.node, event.data))
            case MessageEvent():
                self._tasks.add(event.task_id)
                parts = (event.node, event.message, self._storable(event.metadata), event.origin)
                self._add(EventKind.MESSAGE, event.task_id, self._encoded(event, *parts))
            case _:
                # The checkpoints and the records imply this event.
                return

    def _add(self, kind: EventKind, task: str, value: bytes) -> None:
        if self._position + len(self.pending) >= POSITIONS - 1:
            raise StreamOverflowError(POSITIONS - FIRST_ROW, is_of_log=True)
        self.pending.append(EventRow(0, 0, 0, 0, kind, value, task=task))
        self._size += len(value)
        if self._loop is None:
            return
        if self._size >= BATCH:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(PAUSE, self._flush)

    def _storable(self, metadata: Mapping[str, object]) -> dict[str, object]:
        """The metadata that can be stored. Instances of subclasses of `str` become plain texts."""
        found: dict[str, object] = {}
        for key, value in metadata.items():
            plain = str.__str__(value) if isinstance(value, str) else value
            try:
                self._topology.argument.encode(plain)
            except UnstorableValueError:
                continue
            found[key] = plain
        return found

    def _encoded(self, event: AnyEvent, *parts: Any) -> bytes:
        where = [list(event.ns), event.step, event.at]
        encode = self._topology.argument.encode
        try:
            data = encode([*where, *parts])
        except UnstorableValueError as error:
            data = encode([*where, *_as_text(parts, str(error))])
        if len(data) <= self._max_value_bytes:
            return data
        return encode([*where, *_as_text(parts, f"{len(data)} bytes are more than the store takes")])

    def _flush(self) -> None:
        if self._send is not None:
            self._send()


def _as_text(parts: tuple[Any, ...], why: str) -> list[Any]:
    """The parts with a text in place of the data: a follower must not make the node fail that emitted the data."""
    node, data, *rest = parts
    text = f"<{type(data).__qualname__}, which is not stored: {why}>"
    return [node, text, {}, *rest[1:]] if rest else [node, text]
