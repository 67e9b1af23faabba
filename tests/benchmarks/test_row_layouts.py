"""Every layout of rows stores the same supersteps, and refuses those of a second writer. No test asserts a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from benchmarks.flush import Disk
from benchmarks.lab import Lab
from benchmarks.record import FLOOR
from benchmarks.row_layouts.__main__ import table_of
from benchmarks.row_layouts.layouts import ON_POSTGRES, ON_SQLITE, Counts, Layout, RefusedError, threads_of
from benchmarks.row_layouts.measure import measure
from benchmarks.row_layouts.on_postgres import PostgresLayout
from benchmarks.row_layouts.on_sqlite import SqliteLayout

SUPERSTEPS = 23
ROUNDS = 1


def expected(layout: Layout) -> Counts:
    """A layout that does not always replace the thread's row has replaced it after 20 supersteps."""
    return Counts(version=20 if layout.rewrites_every > 1 else 23, checkpoints=SUPERSTEPS, changes=SUPERSTEPS)


def named(layout: Layout) -> str:
    return layout.name


@pytest.fixture
async def connection(disk: Disk) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    async with disk.new_database() as dsn:
        connection = await asyncpg.connect(dsn)
        yield connection
        await connection.close()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", ON_SQLITE, ids=named)
def test_a_layout_on_sqlite_has_a_row_or_a_header_for_each_change(layout: Layout, threads: int, tmp_path: Path) -> None:
    measured, others = threads_of(layout, threads, others=2)
    with closing(SqliteLayout(tmp_path / "file.db", layout)) as file:
        for _ in range(SUPERSTEPS):
            file.commit(file.transaction([thread.next() for thread in (*measured, *others)]))

        assert {file.counts(thread.key) for thread in (*measured, *others)} == {expected(layout)}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", ON_POSTGRES, ids=named)
async def test_a_layout_on_postgres_has_a_row_or_a_header_for_each_change(
    layout: Layout, threads: int, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    measured, _ = threads_of(layout, threads, others=2)
    tables = PostgresLayout(connection, "layout", layout)
    await tables.create()
    for _ in range(SUPERSTEPS):
        await tables.commit(tables.transaction([thread.next() for thread in measured]))

    assert [await tables.counts(thread.key) for thread in measured] == [expected(layout)] * threads


@pytest.mark.parametrize("supersteps", [9, 10])
@pytest.mark.parametrize("layout", ON_SQLITE, ids=named)
def test_a_layout_on_sqlite_refuses_a_second_writer(layout: Layout, supersteps: int, tmp_path: Path) -> None:
    (thread,), _ = threads_of(layout, 1, others=0)
    with closing(SqliteLayout(tmp_path / "file.db", layout)) as file:
        for _ in range(supersteps):
            newest = file.transaction([thread.next()])
            file.commit(newest)
        stored = file.counts(thread.key)

        with pytest.raises(RefusedError):
            file.commit(newest)
        file.execute("UPDATE threads SET epoch = epoch + 1")
        with pytest.raises(RefusedError):
            file.commit(file.transaction([thread.next()]))
        assert file.counts(thread.key) == stored


@pytest.mark.parametrize("supersteps", [9, 10])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", ON_POSTGRES, ids=named)
async def test_a_layout_on_postgres_refuses_a_second_writer(
    layout: Layout, threads: int, supersteps: int, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    measured, _ = threads_of(layout, threads, others=0)
    tables = PostgresLayout(connection, "layout", layout)
    await tables.create()
    for _ in range(supersteps):
        newest = tables.transaction([thread.next() for thread in measured])
        await tables.commit(newest)
    stored = [await tables.counts(thread.key) for thread in measured]

    with pytest.raises(RefusedError):
        await tables.commit(newest)
    await connection.execute("UPDATE layout.threads SET epoch = epoch + 1")
    with pytest.raises(RefusedError):
        await tables.commit(tables.transaction([thread.next() for thread in measured]))
    assert [await tables.counts(thread.key) for thread in measured] == stored


def test_keys_by_creation_lie_after_or_before_those_of_the_other_threads() -> None:
    layouts = {layout.order: threads_of(layout, 2, others=6) for layout in ON_SQLITE}
    keys = {order: [[thread.key for thread in threads] for threads in found] for order, found in layouts.items()}

    assert keys["newest"] == [[7, 8], [1, 2, 3, 4, 5, 6]]
    assert keys["oldest"] == [[1, 2], [3, 4, 5, 6, 7, 8]]
    (first, second), others = keys["hashed"]
    assert [sum(key < own for key in others) for own in (first, second)] == [2, 5]


def test_each_layout_is_measured_with_each_flush_and_its_log_is_counted(disk: Disk) -> None:
    lab = Lab([], [disk], is_tiny=True, rounds=ROUNDS)
    asyncio.run(measure(lab))

    assert [(row.flush, row.unit) for row in lab.rows] == [("none", "us"), ("none", "bytes"), ("disk", "us")] * 4
    for row in lab.rows:
        layouts = ON_SQLITE if row.work.startswith("SQLite") else ON_POSTGRES
        assert list(row.samples) == [FLOOR, *map(named, layouts)]
        assert all(len(figures) == ROUNDS and min(figures) > 0 for figures in row.samples.values())
        assert all(f"| {name} | " in table_of(row) for name in row.samples)
