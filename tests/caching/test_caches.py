"""Behaviour of every cache."""

import asyncio

from durable_graph import Cache
from durable_graph.caching import CacheKey
from tests.caching.clock import Clock

PLAN: CacheKey = (("graph", "plan"), "a")
PLAN_AGAIN: CacheKey = (("graph", "plan"), "b")
WRITE: CacheKey = (("graph", "write"), "a")


def test_every_cache_implements_the_cache_protocol(cache: Cache) -> None:
    assert isinstance(cache, Cache)


async def test_stored_entries_are_found_and_no_others(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", None), WRITE: (b"", None)})

    assert await cache.aget([PLAN, PLAN_AGAIN, WRITE]) == {PLAN: b"one", WRITE: b""}
    assert await cache.aget([]) == {}


async def test_the_latest_value_of_a_key_is_found(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", 5)})
    await cache.aset({PLAN: (b"two", None)})

    assert await cache.aget([PLAN]) == {PLAN: b"two"}


async def test_keys_with_similar_parts_are_distinguished(cache: Cache) -> None:
    keys: list[CacheKey] = [
        (("a", "b"), "c"),
        (("a",), "bc"),
        (("a|b",), "c"),
        (('a", "b',), "c"),
        ((), "c"),
        (("a", "b"), "C"),
        (("a", "b"), "c\0"),
    ]
    await cache.aset({key: (str(number).encode(), None) for number, key in enumerate(keys)})

    assert await cache.aget(keys) == {key: str(number).encode() for number, key in enumerate(keys)}


async def test_an_entry_expires_after_its_own_time_to_live(cache: Cache, clock: Clock) -> None:
    await cache.aset({PLAN: (b"short", 10), PLAN_AGAIN: (b"long", 100), WRITE: (b"for ever", None)})

    clock.pass_by(9)
    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE])) == {PLAN, PLAN_AGAIN, WRITE}
    clock.pass_by(2)
    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE])) == {PLAN_AGAIN, WRITE}
    clock.pass_by(1_000_000)
    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE])) == {WRITE}


async def test_storing_an_entry_again_restarts_its_time_to_live(cache: Cache, clock: Clock) -> None:
    await cache.aset({PLAN: (b"one", 10)})
    clock.pass_by(9)
    await cache.aset({PLAN: (b"one", 10)})
    clock.pass_by(9)

    assert await cache.aget([PLAN]) == {PLAN: b"one"}


async def test_clearing_a_namespace_keeps_the_entries_of_other_namespaces(cache: Cache) -> None:
    inside: CacheKey = (("graph", "plan", "more"), "a")
    await cache.aset(dict.fromkeys((PLAN, PLAN_AGAIN, WRITE, inside), (b"one", None)))

    await cache.aclear([("graph", "plan"), ("nowhere",)])

    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE, inside])) == {WRITE, inside}


async def test_clearing_no_namespace_clears_nothing(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", None)})

    await cache.aclear([])

    assert await cache.aget([PLAN]) == {PLAN: b"one"}


async def test_clearing_without_a_namespace_clears_everything(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", None), WRITE: (b"two", 5)})

    await cache.aclear()

    assert await cache.aget([PLAN, WRITE]) == {}


async def test_a_cache_supports_concurrent_reads_and_writes(cache: Cache) -> None:
    keys: list[CacheKey] = [(("graph", "plan"), str(number)) for number in range(50)]

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(cache.aset({key: (key[1].encode(), None)}))
            group.create_task(cache.aget(keys))

    assert await cache.aget(keys) == {key: key[1].encode() for key in keys}
