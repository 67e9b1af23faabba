"""The skeleton: the floor, with what any library of this kind has to do for its users besides.

Each node runs in a task of its own, so that it can be cancelled and has a context; it gets a copy of the state, so that
it can change nothing unseen; what it writes is checked against the schema; tasks have ids and channels versions; two
events for each task and one for each superstep go into a buffer.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from benchmarks.engines.log import Durability, Log, Store
from benchmarks.engines.program import Program, State, Task, copied

_RUNNING: ContextVar[tuple[str, int, int]] = ContextVar("_RUNNING")
"""Where the code that asks is: the thread, the superstep and the place of the task."""


class Event(msgspec.Struct, frozen=True):
    kind: str
    thread: str
    superstep: int
    task: str
    data: Any


class UnknownChannelError(Exception):
    """A node wrote a channel that the program does not have."""


class ConflictingWritesError(Exception):
    """Two tasks of one superstep wrote a channel that takes one value."""


class Skeleton:
    """Supersteps over a dict, with the duties that the module lists."""

    def __init__(self, program: Program, store: Store | None = None, durability: Durability = "sync") -> None:
        self._program = program
        self._store = store
        self._durability = durability

    async def run(self, thread: str, given: State) -> State:
        log = None if self._store is None else Log(self._store, thread, self._durability)
        state = copied(given)
        versions = dict.fromkeys(state, 0)
        events: deque[Event] = deque(maxlen=1_000)
        if log is not None:
            await log.begin(state)
        tasks = self._program.plan((), state)
        superstep = 0
        while tasks:
            superstep += 1
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(self._one(log, events, (thread, superstep, place), task, state, len(tasks)))
                    for place, task in enumerate(tasks)
                ]
            writes = [task.result() for task in running]
            changed = self._apply(state, writes)
            for name in changed:
                versions[name] = superstep
            tasks = self._program.plan(tasks, state)
            events.append(Event("superstep", thread, superstep, "", list(changed)))
            if log is not None:
                await log.commit(superstep, tasks, writes[0] if len(writes) == 1 else None, state)
            # Nobody reads them here. A reader would have got them after the commit.
            events.clear()
        if log is not None:
            await log.end(superstep, state)
        return state

    async def _one(
        self, log: Log | None, events: deque[Event], at: tuple[str, int, int], task: Task, state: State, width: int
    ) -> State:
        thread, superstep, place = at
        _RUNNING.set(at)
        identifier = f"{thread}:{superstep}:{place}"
        events.append(Event("started", thread, superstep, identifier, None))
        writes = await self._program.nodes[task.node](copied(state) if task.argument is None else task.argument)
        if not isinstance(writes, dict):
            raise TypeError(writes)
        for name in writes:
            if name not in self._program.channels:
                raise UnknownChannelError(name)
        events.append(Event("finished", thread, superstep, identifier, writes))
        if log is not None and width > 1:
            log.record(superstep, place, writes)
        return writes

    def _apply(self, state: State, writes: Sequence[State]) -> set[str]:
        """Merge the writes into the state. The names of the channels that changed."""
        appended = self._program.appended
        changed: set[str] = set()
        for written in writes:
            for name, value in written.items():
                if name in appended:
                    state[name].extend(value)
                elif name in changed:
                    raise ConflictingWritesError(name)
                else:
                    state[name] = value
                changed.add(name)
        return changed
