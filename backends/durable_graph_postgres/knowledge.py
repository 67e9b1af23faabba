"""What this process last saw of threads' rows. Being wrong about one costs a round trip and no more."""

from collections import OrderedDict

from durable_graph.checkpointing.columns import LockedThread
from durable_graph_postgres.moves import Known, Place

_MOST = 10_000
_NONE: frozenset[Place] = frozenset()


class Knowledge:
    """The rows of the threads that were used last, and where there are task records of their heads."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, Known] = OrderedDict()

    def of(self, thread: str) -> Known | None:
        """What is known of a thread."""
        return self._threads.get(thread)

    def learn(self, thread: str, seen: LockedThread, digest: bytes, places: frozenset[Place] = _NONE) -> None:
        """The thread is like this, its row has this digest. `places` are those of records that were put or found."""
        before = self._threads.get(thread)
        # A head whose plan goes back as far has the same tasks.
        if before is not None and before.thread.born == seen.born:
            places = before.places | places
        self._threads[thread] = Known(seen, digest, places)
        self._threads.move_to_end(thread)
        if len(self._threads) > _MOST:
            self._threads.popitem(last=False)

    def forget(self, thread: str) -> None:
        """Nothing is known of it any more."""
        self._threads.pop(thread, None)
