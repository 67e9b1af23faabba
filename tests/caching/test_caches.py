"""What every cache does."""

import asyncio

from durable_graph import Cache
from durable_graph.caching import CacheKey
from tests.caching.clock import Clock

PLAN: CacheKey = (("graph", "plan"), "a")
PLAN_AGAIN: CacheKey = (("graph", "plan"), "b")
WRITE: CacheKey = (("graph", "write"), "a")


def test_it_is_a_cache(cache: Cache) -> None:
    assert isinstance(cache, Cache)


async def test_what_was_kept_is_found_and_nothing_else(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", None), WRITE: (b"", None)})

    assert await cache.aget([PLAN, PLAN_AGAIN, WRITE]) == {PLAN: b"one", WRITE: b""}
    assert await cache.aget([]) == {}


async def test_the_latest_value_of_a_key_counts(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", 5)})
    await cache.aset({PLAN: (b"two", None)})

    assert await cache.aget([PLAN]) == {PLAN: b"two"}


async def test_keys_are_distinguished_whatever_they_are_made_of(cache: Cache) -> None:
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


async def test_an_entry_expires_with_its_own_time(cache: Cache, clock: Clock) -> None:
    await cache.aset({PLAN: (b"short", 10), PLAN_AGAIN: (b"long", 100), WRITE: (b"for ever", None)})

    clock.pass_by(9)
    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE])) == {PLAN, PLAN_AGAIN, WRITE}
    clock.pass_by(2)
    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE])) == {PLAN_AGAIN, WRITE}
    clock.pass_by(1_000_000)
    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE])) == {WRITE}


async def test_keeping_it_again_starts_its_time_over(cache: Cache, clock: Clock) -> None:
    await cache.aset({PLAN: (b"one", 10)})
    clock.pass_by(9)
    await cache.aset({PLAN: (b"one", 10)})
    clock.pass_by(9)

    assert await cache.aget([PLAN]) == {PLAN: b"one"}


async def test_a_namespace_is_cleared_alone(cache: Cache) -> None:
    inside: CacheKey = (("graph", "plan", "more"), "a")
    await cache.aset(dict.fromkeys((PLAN, PLAN_AGAIN, WRITE, inside), (b"one", None)))

    await cache.aclear([("graph", "plan"), ("nowhere",)])

    assert set(await cache.aget([PLAN, PLAN_AGAIN, WRITE, inside])) == {WRITE, inside}


async def test_clearing_no_namespace_clears_nothing(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", None)})

    await cache.aclear([])

    assert await cache.aget([PLAN]) == {PLAN: b"one"}


async def test_everything_is_cleared_if_none_is_named(cache: Cache) -> None:
    await cache.aset({PLAN: (b"one", None), WRITE: (b"two", 5)})

    await cache.aclear()

    assert await cache.aget([PLAN, WRITE]) == {}


async def test_many_may_use_it_at_once(cache: Cache) -> None:
    keys: list[CacheKey] = [(("graph", "plan"), str(number)) for number in range(50)]

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(cache.aset({key: (key[1].encode(), None)}))
            group.create_task(cache.aget(keys))

    assert await cache.aget(keys) == {key: key[1].encode() for key in keys}
