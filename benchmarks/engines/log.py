"""The rows of one thread, and when a run waits for them."""

import time
from asyncio import Future
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from benchmarks.engines.program import State, Task

Durability = Literal["sync", "async", "exit"]
Row = tuple[str, int, int, int, bytes]
"""The thread, the superstep, the kind of the row, the place of the task, and the data."""

TASK, SUPERSTEP, SNAPSHOT = 0, 1, 2
"""In the order in which the rows of one superstep are read: a snapshot is the state after it."""

_MOST_UPDATES: Final = 65_536
"""A snapshot is written once the updates since the last one have more bytes than it, and so many more."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Store(Protocol):
    """Rows that are committed in the order in which one thread puts them."""

    def put(self, rows: list[Row], *, is_awaited: bool = True) -> "Future[None] | None": ...

    async def load(self, thread: str) -> list[Row]: ...


class Log:
    """What a run of one thread commits: its input, each task of a fan-out, and each superstep with the next plan."""

    def __init__(self, store: Store, thread: str, durability: Durability) -> None:
        self._store = store
        self._thread = thread
        self._durability = durability
        self._last: Future[None] | None = None
        self._snapshot = 0
        self._updates = 0

    async def begin(self, state: State) -> None:
        if self._durability != "exit":
            await self._put([self._snapshot_of(0, state)])

    def record(self, superstep: int, place: int, writes: State) -> None:
        """Commit what one of several tasks returned. Nothing waits for it."""
        if self._durability != "exit":
            self._store.put([(self._thread, superstep, TASK, place, _encode(writes))], is_awaited=False)

    async def commit(self, superstep: int, plan: Sequence[Task], writes: State | None, state: State) -> None:
        """Commit a superstep. The writes of its only task are part of the row."""
        if self._durability == "exit":
            return
        data = _encode((time.time(), [task.node for task in plan], writes))
        rows: list[Row] = [(self._thread, superstep, SUPERSTEP, 0, data)]
        self._updates += len(data)
        if self._updates > self._snapshot + _MOST_UPDATES:
            rows.append(self._snapshot_of(superstep, state))
        await self._put(rows)

    async def end(self, superstep: int, state: State) -> None:
        """Wait for whatever is not committed."""
        if self._durability == "exit":
            self._last = self._store.put([self._snapshot_of(superstep, state)])
        if self._last is not None:
            await self._last

    async def _put(self, rows: list[Row]) -> None:
        self._last = self._store.put(rows)
        if self._durability == "sync" and self._last is not None:
            await self._last

    def _snapshot_of(self, superstep: int, state: State) -> Row:
        data = _encode(state)
        self._snapshot, self._updates = len(data), 0
        return self._thread, superstep, SNAPSHOT, 0, data


def restored(rows: Sequence[Row], appended: frozenset[str]) -> State:
    """The state after the rows of a thread of one task for each superstep."""
    state: State = {}
    for _, _, kind, _, data in rows:
        value: Any = _decode(data)
        if kind == SNAPSHOT:
            state = value
        else:
            for name, written in value[2].items():
                if name in appended:
                    state[name].extend(written)
                else:
                    state[name] = written
    return state
