"""The protocol of a cache: bytes by key, for a time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

CacheNamespace = tuple[str, ...]
CacheKey = tuple[CacheNamespace, str]


@runtime_checkable
class Cache(Protocol):
    """Where results are kept that need not be computed again. An entry may vanish at any time."""

    async def aget(self, keys: Iterable[CacheKey]) -> dict[CacheKey, bytes]:
        """The entries that there are, and that have not expired."""
        ...

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        """Keep entries, each for so many seconds, or until they are cleared if that is None."""
        ...

    async def aclear(self, namespaces: Sequence[CacheNamespace] | None = None) -> None:
        """Forget what is in these namespaces, by default everything."""
        ...
