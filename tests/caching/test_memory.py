"""An InMemoryCache holds at most `max_entries` entries."""

from typing import Any

import pytest

from durable_graph import InMemoryCache
from durable_graph.caching import CacheKey
from durable_graph.errors import InvalidOptionError


def key(name: str) -> CacheKey:
    return ("node",), name


async def names_in(cache: InMemoryCache, names: str) -> str:
    return "".join(sorted(name for _, name in await cache.aget([key(name) for name in names])))


async def test_the_least_recently_used_entry_is_evicted() -> None:
    cache = InMemoryCache(max_entries=3)
    for name in "abc":
        await cache.aset({key(name): (b"", None)})
    await cache.aget([key("a")])

    await cache.aset({key("d"): (b"", None)})

    assert await names_in(cache, "abcd") == "acd"


async def test_storing_an_entry_again_counts_as_a_use() -> None:
    cache = InMemoryCache(max_entries=2)
    for name in "abac":
        await cache.aset({key(name): (b"", None)})

    assert await names_in(cache, "abc") == "ac"


async def test_storing_more_entries_than_the_maximum_keeps_the_last_of_them() -> None:
    cache = InMemoryCache(max_entries=2)

    await cache.aset({key(name): (b"", None) for name in "abcd"})

    assert await names_in(cache, "abcd") == "cd"


@pytest.mark.parametrize("entries", [0, -1, 1.5, "many"])
def test_an_invalid_maximum_of_entries_is_refused(entries: Any) -> None:
    with pytest.raises(InvalidOptionError, match="max_entries"):
        InMemoryCache(max_entries=entries)
