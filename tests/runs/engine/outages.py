"""A store of runs that is away, or whose replies are lost, for some of its methods."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from durable_graph import Checkpointer
from durable_graph.errors import StoreUnavailableError


class Outage:
    """The names of the methods that fail now.

    A call of an `absent` method has no effect. A call of a `mute` one has its effect, and its reply is lost. `calls`
    counts the calls.
    """

    def __init__(self) -> None:
        self.absent: set[str] = set()
        self.mute: set[str] = set()
        self.calls: Counter[str] = Counter()

    def end(self) -> None:
        """All methods work again."""
        self.absent.clear()
        self.mute.clear()

    async def call(self, name: str, method: Callable[[], Awaitable[Any]]) -> Any:
        """Call the method, as far as it works."""
        self.calls[name] += 1
        if name in self.absent:
            raise StoreUnavailableError("the store", "it is away")
        result = await method()
        if name in self.mute:
            raise StoreUnavailableError("the store", "its reply was lost")
        return result


class OutageRuns:
    """The runs of a saver. See `RunStore`."""

    def __init__(self, inner: Any, outage: Outage) -> None:
        self._inner = inner
        self._outage = outage

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*given: Any, **named: Any) -> Any:
            return await self._outage.call(name, lambda: method(*given, **named))

        return call if callable(method) else method

    @asynccontextmanager
    async def beside(self) -> AsyncIterator["OutageRuns"]:
        async with self._inner.beside() as inner:
            yield OutageRuns(inner, self._outage)


def outage_of(saver: Checkpointer) -> Outage:
    """An outage that the saver's runs have from now on."""
    outage = Outage()
    wrapped: Any = saver
    wrapped.runs = OutageRuns(wrapped.runs, outage)
    return outage
