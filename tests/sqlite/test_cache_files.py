"""The files that a SQLite cache accepts, the files that it leaves alone, and caches that share a file."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from durable_graph import Checkpointer
from durable_graph.caching import CacheKey
from durable_graph.errors import (
    CheckpointerMisuseError,
    InvalidOptionError,
    StoreConfigurationError,
    StoreFormatError,
    StoreUnavailableError,
)
from durable_graph_sqlite import SqliteCache, SqliteSaver
from durable_graph_sqlite.statements import RESULTS_SCHEMA, RESULTS_SQL, script
from tests.caching.clock import Clock
from tests.errors.kinds import of_kind
from tests.sqlite.inside import count, database

KEY: CacheKey = (("graph", "plan"), "a")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


async def store_result(path: Path, value: bytes = b"one", ttl: float | None = None) -> None:
    """Store one result in the file."""
    async with SqliteCache(path) as cache:
        await cache.aset({KEY: (value, ttl)})


async def found(path: Path) -> bytes | None:
    async with SqliteCache(path) as cache:
        return (await cache.aget([KEY])).get(KEY)


# The file


@pytest.mark.parametrize("name", list(RESULTS_SQL))
def test_every_statement_is_valid_sql(name: str) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in script(RESULTS_SCHEMA):
            db.execute(statement)
        given: dict[str, Any] = dict.fromkeys(("namespace", "key", "digest", "value", "until", "now"), b"")
        assert db.execute(f"EXPLAIN {RESULTS_SQL[name]}", given).fetchall()


async def test_a_result_survives_the_closing_of_its_cache(path: Path) -> None:
    await store_result(path)

    assert await found(path) == b"one"


async def test_a_cache_opens_on_first_use(path: Path) -> None:
    cache = SqliteCache(path)
    assert not path.exists()

    assert await cache.aget([KEY]) == {}

    assert path.exists()
    await cache.aclose()


@pytest.mark.parametrize("given", ["", ":memory:"])
def test_a_path_that_names_no_file_is_refused(given: str) -> None:
    with pytest.raises(InvalidOptionError, match="InMemoryCache"):
        SqliteCache(given)


async def test_expired_results_are_removed_when_a_new_result_is_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    await store_result(path, ttl=10)
    clock.pass_by(11)
    other = KEY[0], "b"

    async with SqliteCache(path) as cache:
        assert await cache.aget([KEY]) == {}
        await cache.aset({other: (b"two", None)})

    assert count(path, "results") == 1


@pytest.mark.parametrize("column", ["value", "digest", "until", "namespace", "key"])
async def test_a_damaged_result_is_a_cache_miss(path: Path, column: str) -> None:
    await store_result(path, ttl=1000)
    damage = {
        "value": "X'6f6e66'",
        "digest": "zeroblob(16)",
        "until": "until + 1",
        "namespace": """'["graph", "write"]'""",
        "key": "'b'",
    }
    with database(path) as db:
        db.execute(f"UPDATE results SET {column} = {damage[column]}")
    keys: list[CacheKey] = [KEY, (KEY[0], "b"), (("graph", "write"), "a")]

    async with SqliteCache(path) as cache:
        assert await cache.aget(keys) == {}
        await cache.aset({KEY: (b"two", None)})
        assert await cache.aget(keys) == {KEY: b"two"}


async def refused(path: Path, error: type[Exception], kind: str | None = None) -> str:
    before = path.read_bytes()
    cache = SqliteCache(path)
    with pytest.raises(error, check=of_kind(kind)) as caught:
        await cache.aget([KEY])
    with pytest.raises(error, check=of_kind(kind)):
        await cache.aset({KEY: (b"one", None)})
    await cache.aclose()
    assert path.read_bytes() == before
    return str(caught.value)


async def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database\n" * 500)

    assert str(path) in await refused(path, StoreConfigurationError, "foreign_file")


async def test_another_applications_database_is_left_alone(path: Path) -> None:
    with database(path) as db:
        db.execute("CREATE TABLE results (namespace, key, until, digest, value)")

    await refused(path, StoreConfigurationError, "foreign_file")


async def test_a_cache_refuses_the_file_of_a_saver_and_a_saver_that_of_a_cache(path: Path, tmp_path: Path) -> None:
    threads = tmp_path / "runs.db"
    async with SqliteSaver(threads) as saver:
        await saver.list_threads()
    await store_result(path)

    await refused(threads, StoreConfigurationError, "foreign_file")
    with pytest.raises(StoreConfigurationError, check=of_kind("foreign_file")):
        await SqliteSaver(path).list_threads()


async def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    await store_result(path)
    with database(path) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    assert "99" in await refused(path, StoreFormatError)


async def test_the_error_for_a_missing_directory_names_it_and_the_cache_opens_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "cache.db"
    async with asyncio.timeout(10):
        cache = SqliteCache(path)
        with pytest.raises(StoreUnavailableError, match="later"):
            await cache.aget([KEY])
        path.parent.mkdir()
        assert await cache.aget([KEY]) == {}
        await cache.aclose()


async def test_a_removed_file_is_detected(path: Path) -> None:
    async with SqliteCache(path) as cache:
        await cache.aset({KEY: (b"one", None)})
        path.unlink()

        for call in (cache.aget([KEY]), cache.aset({KEY: (b"two", None)}), cache.aclear()):
            with pytest.raises(StoreUnavailableError, match="removed"):
                await call


# Calls


CALLS: list[Callable[[SqliteCache], Awaitable[object]]] = [
    lambda cache: cache.aget([KEY]),
    lambda cache: cache.aset({KEY: (b"one", None)}),
    lambda cache: cache.aclear(),
]


@pytest.mark.parametrize("is_used", [True, False])
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_of_a_closed_cache_is_an_error(
    path: Path, call: Callable[[SqliteCache], Awaitable[object]], is_used: bool
) -> None:
    cache = SqliteCache(path)
    if is_used:
        await cache.aget([KEY])
    await cache.aclose()

    with pytest.raises(CheckpointerMisuseError, check=of_kind("closed"), match=r"SqliteCache\(.*cache\.db"):
        await call(cache)
    await cache.aclose()


async def test_a_cancelled_call_is_atomic_and_the_cache_continues(path: Path) -> None:
    entries: dict[CacheKey, tuple[bytes, float | None]] = {
        (KEY[0], str(number)): (b"x" * 1000, None) for number in range(500)
    }
    async with SqliteCache(path) as cache:
        keeping = asyncio.ensure_future(cache.aset(entries))
        await asyncio.sleep(0)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping

        assert len(await cache.aget(entries)) in (0, 500)
        await cache.aset(entries)
        assert len(await cache.aget(entries)) == 500


async def test_closing_waits_for_calls_in_progress(path: Path) -> None:
    cache = SqliteCache(path)
    keeping = asyncio.ensure_future(cache.aset({KEY: (b"one", None)}))
    # The call is handed to the connection's thread once the cache is open.
    await cache.aget([])
    await cache.aclose()
    await keeping

    assert await found(path) == b"one"


async def test_another_live_event_loop_is_refused(path: Path) -> None:
    async with SqliteCache(path) as cache:
        with pytest.raises(CheckpointerMisuseError, check=of_kind("loop"), match="SqliteCache"):
            await asyncio.to_thread(lambda: asyncio.run(found_in(cache)))


def test_a_cache_continues_in_another_loop_when_its_own_is_closed(path: Path) -> None:
    cache = SqliteCache(path)
    asyncio.run(cache.aset({KEY: (b"one", None)}))

    assert asyncio.run(found_in(cache)) == b"one"
    asyncio.run(cache.aclose())


async def test_a_closed_cache_is_opened_again_by_async_with(path: Path) -> None:
    cache = SqliteCache(path)
    for _ in range(2):
        async with cache:
            await cache.aset({KEY: (b"one", None)})
    async with cache:
        assert await found_in(cache) == b"one"


async def found_in(cache: SqliteCache) -> bytes | None:
    return (await cache.aget([KEY])).get(KEY)


_FORKS = """
import asyncio, os, sys
from durable_graph.errors import CheckpointerMisuseError
from durable_graph_sqlite import SqliteCache

async def main():
    cache = SqliteCache(sys.argv[1])
    await cache.aget([])
    child = os.fork()
    if child == 0:
        try:
            await cache.aget([])
        except CheckpointerMisuseError:
            os._exit(7)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    await cache.aclose()
    print(os.waitstatus_to_exitcode(status))

asyncio.run(main())
"""

_FILLS = """
import asyncio, sys
from durable_graph_sqlite import SqliteCache

async def main():
    async with SqliteCache(sys.argv[1]) as cache:
        for number in range(30):
            key = ("node",), f"{sys.argv[2]}-{number}"
            await cache.aset({key: (key[1].encode(), None), (("node",), "shared"): (b"same", 60)})

asyncio.run(main())
"""


def started(program: str, *arguments: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_call_in_a_forked_child_is_refused(path: Path) -> None:
    output, _ = started(_FORKS, str(path)).communicate(timeout=60)

    assert output == "7\n"


async def test_processes_share_a_file_and_may_create_it_concurrently(path: Path) -> None:
    processes = [started(_FILLS, str(path), name) for name in "abcd"]
    codes = [process.wait(timeout=60) for process in processes]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    keys: list[CacheKey] = [(("node",), f"{name}-{number}") for name in "abcd" for number in range(30)]

    assert codes == [0] * 4
    async with SqliteCache(path) as cache:
        assert await cache.aget(keys) == {key: key[1].encode() for key in keys}


def test_a_cache_is_no_checkpointer(path: Path) -> None:
    assert not isinstance(SqliteCache(path), Checkpointer)
