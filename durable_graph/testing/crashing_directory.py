"""The directory of a `CrashingSaver`: calls of the directory count as calls of the store, and crash like them."""

from durable_graph.checkpointing.directory import (
    CreatedThread,
    DeletedThread,
    NewThread,
    SortKey,
    ThreadDirectory,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.testing.crashing_runs import Passes


class CrashingDirectory:
    """Passes calls to the directory of the inner saver, by way of `through`."""

    def __init__(self, inner: ThreadDirectory, through: Passes) -> None:
        self.inner = inner
        self._call = through

    async def create(self, new: NewThread) -> CreatedThread:
        return await self._call("create", lambda: self.inner.create(new))

    async def find(self, thread: str) -> ThreadEntry | None:
        return await self._call("find", lambda: self.inner.find(thread))

    async def update(self, thread: str, metadata: str) -> ThreadEntry | None:
        return await self._call("update", lambda: self.inner.update(thread, metadata))

    async def delete(self, thread: str) -> DeletedThread:
        return await self._call("delete", lambda: self.inner.delete(thread))

    async def search(
        self, query: ThreadQuery, *, sort_by: SortKey, descending: bool, limit: int, offset: int
    ) -> list[ThreadEntry]:
        return await self._call(
            "search",
            lambda: self.inner.search(query, sort_by=sort_by, descending=descending, limit=limit, offset=offset),
        )

    async def count(self, query: ThreadQuery) -> int:
        return await self._call("count", lambda: self.inner.count(query))
