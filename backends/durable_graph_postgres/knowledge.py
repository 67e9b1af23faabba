"""A cache of threads' rows. An outdated entry costs one round trip, and no correctness."""

from collections import OrderedDict

from durable_graph.checkpointing.columns import LockedThread
from durable_graph_postgres.moves import Known, Place

_MOST = 10_000
_NONE: frozenset[Place] = frozenset()


class Knowledge:
    """The rows of the most recently used threads, and the keys of task records of their heads."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, Known] = OrderedDict()

    def of(self, thread: str) -> Known | None:
        """The cached row of a thread, None if there is none."""
        return self._threads.get(thread)

    def learn(self, thread: str, seen: LockedThread, digest: bytes, places: frozenset[Place] = _NONE) -> None:
        """Cache a thread's row and its digest. `places` are the keys of task records that were written or read."""
        before = self._threads.get(thread)
        # If the oldest task of the head's plan is the same, the earlier keys are still of the head.
        if before is not None and before.thread.born == seen.born:
            places = before.places | places
        self._threads[thread] = Known(seen, digest, places)
        self._threads.move_to_end(thread)
        if len(self._threads) > _MOST:
            self._threads.popitem(last=False)

    def forget(self, thread: str) -> None:
        """Remove a thread from the cache."""
        self._threads.pop(thread, None)
