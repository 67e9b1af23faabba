"""A cache in memory, for one process."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from durable_graph.caching.protocol import CacheKey, CacheNamespace
from durable_graph.errors import InvalidOptionError


class InMemoryCache:
    """A cache with at most `max_entries` results; the least recently used are dropped first. Any event loop of the
    process may use it.

    Raises `InvalidOptionError` for a maximum that allows no entry.
    """

    def __init__(self, *, max_entries: int = 10_000) -> None:
        if not isinstance(max_entries, int) or max_entries < 1:
            option = "max_entries"
            raise InvalidOptionError(option, max_entries, allowed="a whole number from 1")
        self._max_entries = max_entries
        self._entries: OrderedDict[CacheKey, tuple[bytes, float | None]] = OrderedDict()
        # Event loops may run in several threads.
        self._lock = threading.Lock()

    async def aget(self, keys: Iterable[CacheKey]) -> dict[CacheKey, bytes]:
        """See `Cache.aget`."""
        now = time.time()
        found: dict[CacheKey, bytes] = {}
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                data, until = entry
                if until is not None and until <= now:
                    del self._entries[key]
                    continue
                self._entries.move_to_end(key)
                found[key] = data
        return found

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        """See `Cache.aset`."""
        now = time.time()
        with self._lock:
            for key, (data, ttl) in entries.items():
                self._entries[key] = data, None if ttl is None else now + ttl
                self._entries.move_to_end(key)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    async def aclear(self, namespaces: Sequence[CacheNamespace] | None = None) -> None:
        """See `Cache.aclear`."""
        gone = None if namespaces is None else set(namespaces)
        with self._lock:
            for key in [key for key in self._entries if gone is None or key[0] in gone]:
                del self._entries[key]
