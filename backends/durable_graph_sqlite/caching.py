"""`SqliteCache`: cached results in a file, for the processes of one machine. No thread depends on the file."""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from durable_graph.caching import CacheKey, CacheNamespace
from durable_graph.checkpointing.opened_once import OpenedOnce
from durable_graph.errors import InvalidOptionError
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.opening import FileKind, is_path
from durable_graph_sqlite.retry import Retry
from durable_graph_sqlite.statements import RESULTS_SCHEMA, RESULTS_SQL

# The application id is "duGc". A result lost by a loss of power is computed again, so "NORMAL" is enough.
RESULTS = FileKind(0x64754763, RESULTS_SCHEMA, {}, "NORMAL", 1)


class SqliteCache:
    """A cache in a separate SQLite file, which it creates if there is none. Opens on first use; close it with
    `async with` or `aclose`.

    Several processes may share the file; `busy_timeout` is the number of seconds for which a process waits for another.
    Writing results also removes expired results. A damaged result counts as missing. The file has to be on a local
    disk.
    """

    def __init__(self, path: str | Path, *, busy_timeout: float = 30) -> None:
        """Raises `InvalidOptionError` for a path that cannot be a file."""
        if str(path) in ("", ":memory:") or not is_path(path):
            allowed = "the path of a file; InMemoryCache() keeps results in memory"
            raise InvalidOptionError("path", str(path), allowed=allowed)
        file, retry = Path(path), Retry(str(path), busy_timeout)
        self._file = OpenedOnce(
            f"SqliteCache({str(path)!r})", lambda: Connection.opened(file, retry, RESULTS), Connection.close
        )

    async def aget(self, keys: Iterable[CacheKey]) -> dict[CacheKey, bytes]:
        """See `Cache.aget`."""
        wanted = list(keys)
        now = time.time()
        connection = await self._file.get()
        found = await connection.read(lambda db: [_result(db, key, now) for key in wanted])
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not None}

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        """See `Cache.aset`."""
        now = time.time()
        rows = [_row(key, value, None if ttl is None else now + ttl) for key, (value, ttl) in entries.items()]

        def write(db: sqlite3.Connection) -> None:
            db.execute(RESULTS_SQL["delete_expired_results"], {"now": now})
            db.executemany(RESULTS_SQL["insert_result"], rows)

        connection = await self._file.get()
        await connection.write(write)

    async def aclear(self, namespaces: Sequence[CacheNamespace] | None = None) -> None:
        """See `Cache.aclear`."""
        gone = None if namespaces is None else [{"namespace": _text(namespace)} for namespace in namespaces]

        def write(db: sqlite3.Connection) -> None:
            if gone is None:
                db.execute(RESULTS_SQL["delete_results"])
            else:
                db.executemany(RESULTS_SQL["delete_results_of"], gone)

        connection = await self._file.get()
        await connection.write(write)

    async def aclose(self) -> None:
        """Finish pending calls and close the file. Calling it again does nothing."""
        await self._file.aclose()

    async def __aenter__(self) -> Self:
        await self._file.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _row(key: CacheKey, value: bytes, until: float | None) -> dict[str, Any]:
    namespace, name = _text(key[0]), key[1]
    digest = _digest(namespace, name, until, value)
    return {"namespace": namespace, "key": name, "until": until, "digest": digest, "value": value}


def _result(db: sqlite3.Connection, key: CacheKey, now: float) -> bytes | None:
    namespace, name = _text(key[0]), key[1]
    found = db.execute(RESULTS_SQL["select_result"], {"namespace": namespace, "key": name, "now": now}).fetchall()
    for until, digest, value in found:
        if digest == _digest(namespace, name, until, value):
            return bytes(value)
    return None


def _digest(namespace: str, key: str, until: float | None, value: bytes) -> bytes:
    place = json.dumps([namespace, key, until]).encode()
    return blake2b(len(place).to_bytes(8, "big") + place + value, digest_size=16, person=b"dg-cached-result").digest()


def _text(namespace: CacheNamespace) -> str:
    return json.dumps(namespace)
