"""Results of nodes that need not be computed again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

CacheKey = tuple[tuple[str, ...], str]


@runtime_checkable
class Cache(Protocol):
    """Where results are kept."""

    async def aget(self, keys: Iterable[CacheKey]) -> dict[CacheKey, bytes]: ...

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None: ...

    async def aclear(self, namespaces: Sequence[tuple[str, ...]] | None = None) -> None: ...


__all__ = ["Cache", "CacheKey"]
