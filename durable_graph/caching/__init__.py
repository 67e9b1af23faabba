"""Caches of results: the protocol, and a cache in memory."""

from durable_graph.caching.memory import InMemoryCache
from durable_graph.caching.protocol import Cache, CacheKey, CacheNamespace

__all__ = ["Cache", "CacheKey", "CacheNamespace", "InMemoryCache"]
