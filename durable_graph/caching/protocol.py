"""The protocol of a cache: bytes by key, with a lifetime."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

CacheNamespace = tuple[str, ...]
CacheKey = tuple[CacheNamespace, str]


@runtime_checkable
class Cache(Protocol):
    """A cache of results. It may drop any entry at any time."""

    async def aget(self, keys: Iterable[CacheKey]) -> dict[CacheKey, bytes]:
        """The existing entries of these keys that have not expired."""
        ...

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        """Store entries, each with its lifetime in seconds; None keeps an entry until it is cleared."""
        ...

    async def aclear(self, namespaces: Sequence[CacheNamespace] | None = None) -> None:
        """Delete the entries of these namespaces, by default all entries."""
        ...
