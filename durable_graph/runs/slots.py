"""The slots of an app's workers, and the nodes that hold one while they wait for another run.

A node that awaits the result of a run keeps its slot meanwhile. If the nodes in all slots do so and no other worker is
alive, none of the awaited runs can begin: one of the nodes gets an error, and its slot is free again.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import RunDeadlockError
from durable_graph.run_records import RunState

_Run = tuple[str, int]


class Slots:
    """The slots of the workers of one app in this process."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs
        self._workers: dict[object, int] = {}
        self._held: set[Slot] = set()

    def open(self, worker: object, concurrency: int) -> None:
        """A worker has begun to execute so many runs at a time."""
        self._workers[worker] = concurrency

    def close(self, worker: object) -> None:
        """A worker has stopped."""
        self._workers.pop(worker, None)

    @contextmanager
    def hold(self, thread: str, seq: int) -> Generator[None]:
        """Hold a slot for this run, which the block executes."""
        slot = Slot(self, (thread, seq))
        self._held.add(slot)
        _own.set(slot)
        try:
            yield
        finally:
            self._held.discard(slot)

    def __contains__(self, slot: "Slot") -> bool:
        return slot in self._held

    @property
    def size(self) -> int:
        """The number of all slots."""
        return sum(self._workers.values())

    def are_waiting(self) -> bool:
        """Whether all slots are held by runs whose nodes wait for runs."""
        # A copy, because another thread may have an event loop with a worker of its own.
        held = list(self._held)
        return len(held) >= self.size and all(slot.awaited for slot in held)

    async def are_stuck(self) -> bool:
        """Whether none of the awaited runs can begin, as long as all of the nodes wait."""
        if not self.are_waiting() or await self._runs.count_workers() > len(self._workers):
            return False
        for slot in list(self._held):
            for thread, seq in list(slot.awaited):
                found = await self._runs.find_run(thread, seq)
                if found is None or found.state.is_ended:
                    # Its node has not noticed yet, and is about to continue.
                    return False
        return self.are_waiting()


class Slot:
    """A slot while it is held for a run. `awaited` has the runs that the nodes of this run wait for."""

    __slots__ = ("awaited", "run", "slots")

    def __init__(self, slots: Slots, run: _Run) -> None:
        self.slots: Slots = slots
        self.run: _Run = run
        self.awaited: list[_Run] = []


class Wait:
    """A wait for a run, in a node that a worker executes or in other code."""

    __slots__ = ("_id", "_run", "_slot")

    def __init__(self, slot: Slot | None, run: _Run) -> None:
        self._slot = slot
        self._run = run
        self._id = run_id(key_of(run[0]), run[1])

    async def check(self, state: RunState) -> None:
        """Raise `RunDeadlockError` if the run, which has this state, cannot end while the node waits for it."""
        slot, (thread, seq) = self._slot, self._run
        if slot is None or state.is_ended:
            return
        if slot.run[0] == thread and slot.run[1] <= seq:
            raise RunDeadlockError.of_own_thread(self._id, thread)
        if state in _NOT_BEGUN and await slot.slots.are_stuck():
            # At once, so that no other node is found waiting in vain, too.
            self.end()
            raise RunDeadlockError(self._id, slots=slot.slots.size)

    def end(self) -> None:
        """The node no longer waits."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.awaited.remove(self._run)


@contextmanager
def waiting_for(thread: str, seq: int) -> Generator[Wait]:
    """A wait for the run, for the time of the block."""
    slot = _own.get()
    if slot is not None and slot not in slot.slots:
        # Code of a node that has outlived its run.
        slot = None
    if slot is not None:
        slot.awaited.append((thread, seq))
    wait = Wait(slot, (thread, seq))
    try:
        yield wait
    finally:
        wait.end()


_NOT_BEGUN: Final = (RunState.READY, RunState.BLOCKED)
_own: ContextVar[Slot | None] = ContextVar("slot", default=None)
