"""The cost of a call: one transaction and few statements. Concurrent commits share a transaction."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from durable_graph.errors import CorruptCheckpointError, InvalidOptionError, StoreUnavailableError
from durable_graph.records import Committed
from durable_graph.testing.conformance.saver_under_test import commit, loaded, save, some_thread
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_sqlite import SqliteSaver
from tests.errors.kinds import of_kind
from tests.path.graphs import INPUT, chain
from tests.sqlite.inside import count, database, on_connection, traced


def _begun(statements: list[str]) -> int:
    return statements.count("BEGIN IMMEDIATE")


async def test_a_commit_is_one_transaction(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver)
        statements = await traced(saver)
        for _ in range(7):
            await commit(saver, writer, Step({"count": b"x"}, {"log": b"x,"}))
        assert _begun(statements) == statements.count("COMMIT") == 7
        await save(saver, writer, writer.batch(writer.record(), writer.record(number=1)))
        assert _begun(statements) == 8


async def test_concurrent_commits_share_transactions(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writers = [await some_thread(saver, f"thread-{number}") for number in range(50)]
        statements = await traced(saver)
        for _ in range(4):
            units = [writer.unit(Step({"count": b"x"})) for writer in writers]
            answers = await asyncio.gather(*(saver.commit(unit) for unit in units))
            assert all(isinstance(answer, Committed) for answer in answers)
            for writer, unit in zip(writers, units, strict=True):
                writer.applied(unit)
        assert _begun(statements) <= 4 * 2


@pytest.mark.parametrize("runs_before", [0, 3], ids=["a new saver", "a saver used by single runs"])
@pytest.mark.parametrize("runs", [2, 20])
async def test_concurrent_runs_commit_together(tmp_path: Path, runs: int, runs_before: int) -> None:
    supersteps = 20
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        graph = chain(supersteps).compile(saver)
        for number in range(runs_before):
            await graph.ainvoke(INPUT, thread_id=f"before {number}")
        statements = await traced(saver)

        await asyncio.gather(*(graph.ainvoke(INPUT, thread_id=f"t {number}") for number in range(runs)))

    # The first commits may form two groups.
    assert _begun(statements) <= supersteps + 1 + 3


async def test_a_thread_may_have_several_calls_in_one_group(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = Writer.of("thread")
        units = []
        for number in range(5):
            units.append(writer.unit(Step({}, {"log": b"%d," % number})))
            writer.applied(units[-1])
        answers = await asyncio.gather(*(saver.commit(unit) for unit in units))
        assert answers == [Committed(number) for number in range(1, 6)]
        assert state_of(await loaded(saver, "thread")) == writer.state()


async def test_a_failed_commit_does_not_fail_the_other_commits_of_its_group(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        writers = [await some_thread(saver, f"thread-{number}") for number in range(6)]
        with database(path) as db:
            db.execute("UPDATE threads SET writes_seq = 9, digest = zeroblob(16) WHERE thread_id = 'thread-2'")
        units = [writer.unit(Step({"count": b"x"})) for writer in writers]
        answers = await asyncio.gather(*(saver.commit(unit) for unit in units), return_exceptions=True)
        assert isinstance(answers.pop(2), CorruptCheckpointError)
        assert answers == [Committed(4)] * 5
        assert await on_connection(saver, lambda db: db.in_transaction) is False


async def test_a_commit_that_sqlite_cannot_store_fails_alone(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writers = [await some_thread(saver, f"thread-{number}") for number in range(3)]
        units = [writer.unit(Step({"count": b"x"})) for writer in writers]
        units[1] = Writer.of("half a character: \ud800").unit()
        answers = await asyncio.gather(*(saver.commit(unit) for unit in units), return_exceptions=True)
        assert answers[0] == answers[2] == Committed(4)
        assert isinstance(answers[1], InvalidOptionError)
        assert answers[1].kind == "unstorable"


async def test_a_base_exception_of_a_write_reaches_its_caller_and_later_writes_continue(tmp_path: Path) -> None:
    class Odd(BaseException):
        """Not an `Exception`."""

    def odd() -> Any:
        raise Odd

    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver)
        _, writes = await saver._opened()
        async with asyncio.timeout(10):
            with pytest.raises(Odd):
                await writes.begin("thread", odd)
            await commit(saver, writer, Step({"count": b"x"}))


async def test_a_load_is_two_queries(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver, length=40)
        await commit(saver, writer, Step({"memory": b"m"}, ns="child"))
        await commit(saver, writer, Step({}, {"log": b"f,"}), fork_of=20)
        statements = await traced(saver)
        for ns, no in (("", None), ("", 30), ("child", 41)):
            statements.clear()
            await loaded(saver, "thread", ns, no)
            assert len(statements) == 2 + len(("BEGIN", "COMMIT"))


async def test_the_number_of_queries_of_a_history_page_does_not_depend_on_its_length(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver, length=60)
        statements = await traced(saver)
        lengths = set()
        for limit in (2, 10, 50):
            statements.clear()
            await saver.history("thread", limit=limit)
            lengths.add(len(statements))
        assert len(lengths) == 1


async def test_reads_see_a_consistent_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver, SqliteSaver(path) as other:
        writer = await some_thread(saver)

        async def write() -> None:
            for number in range(4, 60):
                await commit(other, writer, Step({"count": b"%d" % number}, {"log": b"%d," % number}))

        async with asyncio.TaskGroup() as group:
            writing = group.create_task(write())
            while not writing.done():
                found = await loaded(saver, "thread")
                numbers = [b"%d" % number for number in range(1, found.thread.version + 1)]
                assert state_of(found) == {"first": b"only", "count": numbers[-1], "log": b",".join(numbers) + b","}


async def test_the_file_is_flushed_by_every_commit(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        full = 2
        assert await on_connection(saver, lambda db: db.execute("PRAGMA synchronous").fetchone()) == (full,)
        assert await on_connection(saver, lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


async def test_closing_leaves_one_file(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]
    assert count(tmp_path / "runs.db", "checkpoints") == 3


async def test_a_full_store_is_reported_as_full_and_continues_once_space_is_free(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver)
        pages = await on_connection(saver, lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await on_connection(saver, lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        unit = writer.unit(Step({"count": b"4", "large": bytes(50_000)}))
        with pytest.raises(StoreUnavailableError, check=of_kind("full")):
            await saver.commit(unit)
        with pytest.raises(StoreUnavailableError, check=of_kind("full")):
            await saver.save_writes(writer.batch(writer.record(value=bytes(50_000))))
        assert state_of(await loaded(saver, "thread")) == writer.state()
        await on_connection(saver, lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
        assert await saver.commit(unit) == Committed(4)


_LITTLE_ROOM = """
import asyncio, resource, sys
from durable_graph.errors import StoreUnavailableError
from durable_graph.testing.conformance.saver_under_test import loaded
from durable_graph_sqlite import SqliteSaver

async def main():
    # Space for the existing files, but not for the index of the log, which takes at least 32 KB.
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))
    saver = SqliteSaver(sys.argv[1])
    try:
        await saver.load("thread")
    except StoreUnavailableError as error:
        print(type(error).__name__, error.kind)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print((await loaded(saver, "thread")).thread.version)
    await saver.aclose()

asyncio.run(main())
"""


async def test_a_disk_without_space_for_the_index_of_the_log_is_full(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await some_thread(saver)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _LITTLE_ROOM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)

    assert done.stdout.split() == ["StoreUnavailableError", "full", "3"], done.stderr


async def test_a_store_that_stays_locked_is_unavailable_and_then_continues(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path, busy_timeout=0.05) as saver:
        writer = await some_thread(saver)
        units = [writer.unit(Step({"count": b"4"})), Writer.of("new").unit(Step({"count": b"1"}))]
        with database(path) as db:
            db.execute("BEGIN IMMEDIATE")
            answers = await asyncio.gather(*(saver.commit(unit) for unit in units), return_exceptions=True)
            assert all(isinstance(answer, StoreUnavailableError) for answer in answers)
            # Reads do not wait for writes.
            assert state_of(await loaded(saver, "thread")) == writer.state()
            db.execute("ROLLBACK")
        assert [await saver.commit(unit) for unit in units] == [Committed(4), Committed(1)]


async def test_a_commit_waits_for_the_end_of_a_short_lock(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        writer = await some_thread(saver)
        with database(path) as db:
            db.execute("BEGIN IMMEDIATE")
            call = asyncio.ensure_future(saver.commit(writer.unit(Step({"count": b"4"}))))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not call.done()
            db.execute("COMMIT")
        assert await call == Committed(4)
