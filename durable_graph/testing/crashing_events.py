"""The events of a `CrashingSaver`: calls of the event log count as calls of the store, and crash like them."""

from collections.abc import Sequence

from durable_graph.checkpointing.event_log import EventLog, EventPage, Follow, Followed, OpenEvents
from durable_graph.run_records import EventRow
from durable_graph.testing.crashing_runs import Passes


class CrashingEvents:
    """Passes calls to the events of the inner saver, by way of `through`."""

    def __init__(self, inner: EventLog, through: Passes) -> None:
        self.inner = inner
        self._call = through

    async def tail(self, thread: str, seq: int, after: int, limit: int) -> EventPage | None:
        return await self._call("tail", lambda: self.inner.tail(thread, seq, after, limit))

    async def results(self, thread: str, seq: int, until: int) -> list[tuple[str, int, int]]:
        return await self._call("results", lambda: self.inner.results(thread, seq, until))

    async def open_events(self, thread: str, seq: int) -> OpenEvents | None:
        return await self._call("open_events", lambda: self.inner.open_events(thread, seq))

    async def append(self, thread: str, epoch: int, rows: Sequence[EventRow]) -> bool:
        return await self._call("append", lambda: self.inner.append(thread, epoch, rows))

    async def follow(self, follow: Follow) -> Followed:
        return await self._call("follow", lambda: self.inner.follow(follow))

    async def remove_events(self, thread: str, seq: int) -> int:
        return await self._call("remove_events", lambda: self.inner.remove_events(thread, seq))
