"""Measuring the layouts: supersteps of one thread, and of a hundred threads in one transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import Any, Final, NamedTuple

import asyncpg

from benchmarks.engines.stores import POSTGRES_TABLES
from benchmarks.flush import Disk
from benchmarks.lab import Lab, Work
from benchmarks.record import FLOOR, Flush
from benchmarks.row_layouts.layouts import (
    ON_POSTGRES,
    ON_SQLITE,
    FloorThread,
    Population,
    Thread,
    threads_of,
    threads_of_floor,
)
from benchmarks.row_layouts.on_postgres import PostgresFloor, PostgresLayout
from benchmarks.row_layouts.on_sqlite import SqliteFloor, SqliteLayout

TOGETHER: Final = 100
"""The threads of a group."""
OTHERS: Final = 100
"""The threads that the tables have besides those that are measured."""
SUPERSTEPS_BEFORE: Final = 20
"""The supersteps that each thread has before it is measured. First those of the other threads are committed."""

# All numbers of transactions are multiples of the ten after which two of the layouts replace the thread's row.
ALONE_IN_A_ROUND: Final = 100
UNFLUSHED_IN_A_ROUND: Final = 500
GROUPS_IN_A_ROUND: Final = 10
ALONE_FOR_THE_LOG: Final = 1000
GROUPS_FOR_THE_LOG: Final = 20

ROUNDS_ALONE: Final = 21
ROUNDS_OF_GROUPS: Final = 15
ROUNDS_FOR_THE_LOG: Final = 3


class Contender(NamedTuple):
    """A layout, or the floor, with its threads.

    `transaction` makes a transaction of the next superstep of each thread, and `commit` commits such transactions.
    `logged` commits them as well, and returns the bytes that they add to the log of the database.
    """

    transaction: Callable[[], Any]
    commit: Callable[[Sequence[Any]], Awaitable[None]]
    logged: Callable[[Sequence[Any]], Awaitable[int]]


class Case(NamedTuple):
    """So many threads in a transaction and so many others, each with so many supersteps before, on a disk.

    With the flush "none", commits do not wait for a flush of the disk.
    """

    threads: int
    others: int
    before: int
    disk: Disk
    flush: Flush

    @property
    def flushes(self) -> bool:
        return self.flush != "none"


async def measure(lab: Lab) -> None:
    """Add the rows of both databases: with each kind of flush, and without flushes, there with the bytes of the log."""
    others, before = lab.size(OTHERS, 3), lab.size(SUPERSTEPS_BEFORE, 2)
    for threads in (1, lab.size(TOGETHER, 2)):
        without = Case(threads, others, before, lab.disks[-1], "none")
        cases = [without, *(without._replace(disk=disk, flush=disk.flush) for disk in lab.disks)]
        for case in cases:
            with on_sqlite(case) as contenders:
                await _measure(lab, "SQLite", case, contenders)
        for case in cases:
            async with on_postgres(case) as contenders:
                await _measure(lab, "PostgreSQL", case, contenders)


async def _measure(lab: Lab, database: str, case: Case, contenders: Mapping[str, Contender]) -> None:
    threads, is_alone = case.threads, case.threads == 1
    work = f"{database}, alone" if is_alone else f"{database}, {threads} threads in a transaction"
    alone = ALONE_IN_A_ROUND if case.flushes else UNFLUSHED_IN_A_ROUND
    transactions = lab.size(alone if is_alone else GROUPS_IN_A_ROUND, 10)
    made: dict[str, list[Any]] = {}

    def prepare(name: str) -> None:
        made[name] = [contenders[name].transaction() for _ in range(transactions)]

    def committing(name: str) -> Work:
        return lambda: contenders[name].commit(made[name])

    works = {name: committing(name) for name in contenders}
    rounds = ROUNDS_ALONE if is_alone else ROUNDS_OF_GROUPS
    samples = await lab.timed(works, transactions * threads, rounds=rounds, prepare=prepare)
    lab.add(work, "superstep", samples, flush=case.flush)
    if not case.flushes:
        transactions = lab.size(ALONE_FOR_THE_LOG if is_alone else GROUPS_FOR_THE_LOG, 10)
        sizes: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(lab.rounds(ROUNDS_FOR_THE_LOG)):
            for name, contender in contenders.items():
                size = await contender.logged([contender.transaction() for _ in range(transactions)])
                sizes[name].append(size / (transactions * threads))
        lab.add(f"{work}: log", "superstep", sizes, unit="bytes")


@contextmanager
def on_sqlite(case: Case) -> Iterator[dict[str, Contender]]:
    """Each layout in a file of its own, and the floor."""
    with ExitStack() as stack:
        floor = stack.enter_context(closing(SqliteFloor(case.disk.new_file())))
        contenders = {FLOOR: _in_file(floor, threads_of_floor(case.threads, case.others), case)}
        for layout in ON_SQLITE:
            file = stack.enter_context(closing(SqliteLayout(case.disk.new_file(), layout)))
            contenders[layout.name] = _in_file(file, threads_of(layout, case.threads, case.others), case)
        yield contenders


def _in_file(file: SqliteFloor | SqliteLayout, population: Population[Any], case: Case) -> Contender:
    for threads in (population.others, population.measured):
        for _ in range(case.before):
            file.commit(_transaction(file, threads))
    if case.flushes:
        file.flush_commits()

    async def commit(made: Sequence[Any]) -> None:
        for transaction in made:
            file.commit(transaction)

    async def logged(made: Sequence[Any]) -> int:
        file.empty_log()
        await commit(made)
        return file.logged()

    return Contender(lambda: _transaction(file, population.measured), commit, logged)


@asynccontextmanager
async def on_postgres(case: Case) -> AsyncIterator[dict[str, Contender]]:
    """Each layout in a schema of its own, and the floor, on one connection."""
    async with case.disk.new_database() as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("SET synchronous_commit = off")
            await connection.execute(POSTGRES_TABLES)
            floor = PostgresFloor(connection)
            contenders = {FLOOR: await _on_server(floor, threads_of_floor(case.threads, case.others), case)}
            for layout in ON_POSTGRES:
                tables = PostgresLayout(connection, layout.name[0], layout)
                await tables.create()
                contenders[layout.name] = await _on_server(tables, threads_of(layout, case.threads, case.others), case)
            if case.flushes:
                await connection.execute("SET synchronous_commit = on")
            yield contenders
        finally:
            await connection.close()


async def _on_server(tables: PostgresFloor | PostgresLayout, population: Population[Any], case: Case) -> Contender:
    for threads in (population.others, population.measured):
        for _ in range(case.before):
            await tables.commit(_transaction(tables, threads))

    async def commit(made: Sequence[Any]) -> None:
        for transaction in made:
            await tables.commit(transaction)

    async def position() -> int:
        return int(await tables.connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    async def logged(made: Sequence[Any]) -> int:
        before = await position()
        await commit(made)
        return await position() - before

    return Contender(lambda: _transaction(tables, population.measured), commit, logged)


def _transaction(tables: Any, threads: Sequence[Thread | FloorThread]) -> Any:
    return tables.transaction([thread.next() for thread in threads])
