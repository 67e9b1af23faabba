"""The stores of the benchmarks of runs: a PostgreSQL server, and a folder for SQLite files, on the machine's disk."""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec

from benchmarks.flush import DURABLE, Disk
from benchmarks.questions.storage import size_of
from benchmarks.runs import cpu
from benchmarks.runs.contenders import StoreName
from tests.postgres.server import Server, started


class Place(msgspec.Struct, frozen=True):
    """An empty database. `url` is for `App`."""

    store: StoreName
    url: str
    server: Server | None

    def server_cpu(self) -> float:
        """The CPU seconds of the server so far, 0 for a file."""
        return 0.0 if self.server is None else cpu.of_server(self.server.pid)

    async def answer(self, statement: str) -> int:
        """The first number that a query finds."""
        if self.server is None:
            connection = sqlite3.connect(self._file)
            try:
                number = connection.execute(statement).fetchone()[0]
            finally:
                connection.close()
            return int(number)
        of_server = await asyncpg.connect(self.url)
        try:
            return int(await of_server.fetchval(statement))
        finally:
            await of_server.close()

    async def stored_bytes(self) -> int:
        """The bytes of all tables and indexes."""
        if self.server is not None:
            return await size_of(self.url)
        await self.answer("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._file.stat().st_size

    @property
    def _file(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))


class Stores:
    """Makes empty databases."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder, self._server = folder, server

    async def server_version(self) -> str:
        """The version of the server."""
        connection = await asyncpg.connect(self._server.url)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    @property
    def flush_microseconds(self) -> float:
        """The median time of a flush of a small write."""
        return Disk("disk", self._folder).flush_microseconds

    @asynccontextmanager
    async def new(self, store: StoreName) -> AsyncIterator[Place]:
        """An empty database, which is removed afterwards."""
        name = f"b{uuid4().hex}"
        if store == "SQLite":
            path = self._folder / f"{name}.db"
            yield Place(store, f"sqlite:///{path}", None)
            for each in self._folder.glob(f"{name}.db*"):
                each.unlink()
            return
        administrator = await asyncpg.connect(self._server.url)
        try:
            await administrator.execute(f"CREATE DATABASE {name}")
            yield Place(store, self._server.url.removesuffix("postgres") + name, self._server)
            await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await administrator.close()


@contextmanager
def stores() -> Iterator[Stores]:
    """A server with the settings of production, and a folder."""
    with tempfile.TemporaryDirectory() as folder:
        # A server that is started by root runs as another user.
        Path(folder).chmod(0o711)
        with started(settings=DURABLE, parent=Path(folder)) as server:
            yield Stores(Path(folder), server)
