"""What does a superstep cost on a SQLite file, in each durability?"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from benchmarks.contenders import contenders, places
from benchmarks.engines.log import Durability
from benchmarks.flush import Disk
from benchmarks.lab import Lab, Work
from benchmarks.shapes import chain


@contextmanager
def one_row_each(disk: Disk, commits: int) -> Iterator[Work]:
    """So many commits of one row, in the thread of the event loop: what the file asks for."""
    with closing(sqlite3.connect(disk.new_file(), isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows(number INTEGER PRIMARY KEY, value BLOB)")

        async def run() -> None:
            for _ in range(commits):
                connection.execute("INSERT INTO rows (value) VALUES (?)", (b"x" * 100,))

        yield run


async def measure(lab: Lab) -> None:
    shape = chain(lab.size(100, 3))
    modes: tuple[Durability, ...] = ("sync", "async", "exit")
    for place in places(lab, "sqlite"):
        assert place.disk is not None
        for durability in modes:
            with one_row_each(place.disk, shape.units) as inserts:
                async with contenders(lab, shape, place, durability) as runs:
                    works = {**runs, "one INSERT": inserts} if durability == "sync" else runs
                    await lab.measure(
                        f"chain, SQLite, {durability}", "superstep", works, shape.units, rounds=11, flush=place.flush
                    )
