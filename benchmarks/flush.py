"""Where the databases of the benchmarks are: on the disk, and in memory with a simulated flush.

The time that a disk takes for a flush varies from machine to machine and from minute to minute, and what a library
adds to it is lost in that. In memory each flush takes FLUSH_MICROSECONDS, which is what a fast SSD takes: `flush.c`
stands in for fsync and fdatasync of files in memory. It needs Linux and a C compiler; where these are missing, the rows
with a simulated flush are left out.

It shows what a library adds to a flush of known length, and how many flushes it waits for. It does not show what the
amount of written data costs, nor what a disk does when several processes flush at once.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg

from benchmarks.record import Flush
from tests.postgres.server import Server, started

FLUSH_MICROSECONDS: Final = 150
DURABLE: Final[Mapping[str, str]] = {"fsync": "on", "synchronous_commit": "on"}
"""What production has."""

_SOURCE: Final = Path(__file__).with_name("flush.c")
MEMORY: Final = Path("/dev/shm")  # noqa: S108  # Linux has one, and each folder in it gets a name of its own


class Disk:
    """A folder for SQLite files, and a PostgreSQL server, which is started when a question asks for it.

    `server_version` is None until then.
    """

    def __init__(self, flush: Flush, folder: Path) -> None:
        self.flush = flush
        self.folder = folder
        self._stack = ExitStack()
        self._server: Server | None = None
        self.server_version: str | None = None

    @property
    def flush_microseconds(self) -> float:
        """The median time of a flush of a small write."""
        times = []
        with tempfile.TemporaryFile(dir=self.folder) as file:
            for _ in range(50):
                file.write(b"x" * 4096)
                file.flush()
                began = time.perf_counter()
                os.fsync(file.fileno())
                times.append(time.perf_counter() - began)
        return round(statistics.median(times) * 1e6, 1)

    def new_file(self) -> Path:
        """A path for a SQLite file."""
        return self.folder / f"{uuid4().hex}.db"

    @asynccontextmanager
    async def new_database(self) -> AsyncIterator[str]:
        """The DSN of an empty database."""
        if self._server is None:
            self._server = self._stack.enter_context(started(settings=DURABLE, parent=self.folder))
            self.server_version = await _answer(self._server.url, "SHOW server_version")
        name = f"b{uuid4().hex}"
        await _answer(self._server.url, f"CREATE DATABASE {name}")
        yield self._server.url.removesuffix("postgres") + name
        await _answer(self._server.url, f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        self._stack.close()


@contextmanager
def disks() -> Iterator[list[Disk]]:
    """The real one, and the simulated one if this process has it."""
    with ExitStack() as stack:
        folders: dict[Flush, Path | None] = {"disk": None}
        if is_simulated():
            folders["simulated"] = MEMORY
        found = []
        for flush, parent in folders.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent)))
            # A PostgreSQL server that is started by root runs as another user.
            folder.chmod(0o711)
            disk = Disk(flush, folder)
            stack.callback(disk.close)
            found.append(disk)
        yield found


def is_simulated() -> bool:
    """Whether `flush.c` is loaded in this process."""
    if not MEMORY.is_dir() or "LD_PRELOAD" not in os.environ:
        return False
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        return Disk("simulated", Path(folder)).flush_microseconds >= FLUSH_MICROSECONDS


def with_simulated_flush(arguments: list[str]) -> int:
    """Run this interpreter with `flush.c` loaded, where that is possible. The exit code."""
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        if library := _compiled(Path(folder)):
            environment["LD_PRELOAD"] = str(library)
        return subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode


def _compiled(folder: Path) -> Path | None:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None or not MEMORY.is_dir():
        return None
    library = folder / "flush.so"
    # The server's user loads it, too.
    folder.chmod(0o711)
    size = f"-DFLUSH_MICROSECONDS={FLUSH_MICROSECONDS}"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", size, "-o", library, _SOURCE, "-ldl"], check=True)
    return library


async def _answer(dsn: str, statement: str) -> str | None:
    """The one value that a statement answers with, if it has one."""
    connection = await asyncpg.connect(dsn)
    try:
        found: str | None = await connection.fetchval(statement)
        return found
    finally:
        await connection.close()
