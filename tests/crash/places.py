"""Where threads live while processes die: `process()` is what a new process would open."""

from pathlib import Path
from typing import Protocol

from durable_graph import Checkpointer, MemorySaver
from durable_graph_sqlite import SqliteSaver


class Place(Protocol):
    """A store that outlives its processes."""

    def process(self) -> Checkpointer:
        """The store, as a process that has just started sees it."""
        ...

    async def close(self) -> None:
        """Once it is over. A process that died closed nothing."""
        ...


class InMemory:
    """A store that stands beside the processes, as a server would."""

    def __init__(self) -> None:
        self._saver = MemorySaver()

    def process(self) -> Checkpointer:
        return self._saver

    async def close(self) -> None:
        await self._saver.aclose()


class OnDisk:
    """A file, and for each process a saver of its own. The dead ones' are still open when the next one starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._savers: list[SqliteSaver] = []

    def process(self) -> Checkpointer:
        self._savers.append(SqliteSaver(self._path))
        return self._savers[-1]

    async def close(self) -> None:
        for saver in self._savers:
            await saver.aclose()
