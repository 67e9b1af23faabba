"""Results that need not be computed again: the protocol of a cache, and one in memory."""

from durable_graph.caching.memory import InMemoryCache
from durable_graph.caching.protocol import Cache, CacheKey, CacheNamespace

__all__ = ["Cache", "CacheKey", "CacheNamespace", "InMemoryCache"]
