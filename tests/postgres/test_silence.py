"""Calls to a server that does not answer time out, like calls to a server that cannot be reached."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from durable_graph import Checkpointer, StoreUnavailableError
from durable_graph.records import Committed
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, state_of
from durable_graph_postgres import PostgresSaver, database
from tests.postgres.server import Server, started


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as opened:
        yield opened


@pytest.fixture(params=["a DSN", "a pool"])
async def saver(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Checkpointer]:
    if request.param == "a DSN":
        yield PostgresSaver(server.url, schema="of a dsn", patience=0.5)
        return
    async with asyncpg.create_pool(server.url, min_size=1) as pool:
        yield PostgresSaver(pool, schema="of a pool", patience=0.5)


async def test_calls_to_an_unresponsive_server_time_out_and_work_afterwards(
    server: Server, saver: Checkpointer
) -> None:
    async with saver:
        writer = await some_thread(saver)
        unit = writer.unit(Step({"count": b"4"}))
        server.freeze()
        try:
            async with asyncio.timeout(20):
                calls = saver.commit(unit), saver.load("thread"), saver.list_threads(), saver.prune("thread")
                answers = await asyncio.gather(*calls, return_exceptions=True)
        finally:
            server.thaw()

        assert [type(answer) for answer in answers] == [StoreUnavailableError] * 4
        assert all("it does not answer" in str(answer) for answer in answers)
        # The commit may have reached the server after all.
        assert await saver.commit(unit) == Committed(4)
        writer.applied(unit)
        await commit(saver, writer, Step({"count": b"5"}))
        assert state_of(await loaded(saver, "thread")) == writer.state()


async def test_opening_with_a_pool_without_a_timeout_times_out_on_an_unresponsive_server(server: Server) -> None:
    async with asyncpg.create_pool(server.url, min_size=1, command_timeout=None) as pool:
        server.freeze()
        try:
            async with asyncio.timeout(20):
                with pytest.raises(StoreUnavailableError, match="it does not answer"):
                    await PostgresSaver(pool, schema="of a silent server", patience=0.5).load("t")
        finally:
            server.thaw()


async def test_a_server_that_answers_before_the_timeout_causes_no_error(server: Server) -> None:
    async with PostgresSaver(server.url, schema="in time") as saver:
        writer = await some_thread(saver)
        server.freeze()
        committing = asyncio.ensure_future(saver.commit(writer.unit(Step({"count": b"4"}))))
        reading = asyncio.create_task(saver.load("thread"))
        done, _ = await asyncio.wait((committing, reading), timeout=0.2)
        server.thaw()

        assert done == set()
        assert await committing == Committed(4)
        assert await reading is not None


_STOPS_INSIDE = """
import asyncio, os, signal, sys
import asyncpg
from durable_graph_postgres import PostgresSaver, opening, session

session.LONGEST_SILENCE = "500ms"
dsn, schema, how, where = sys.argv[1:]
has_stopped = False

def stop():
    global has_stopped
    if not has_stopped:
        has_stopped = True
        os.kill(os.getpid(), signal.SIGSTOP)

rows = session.Session.rows
migrate = opening._migrate

async def stop_and_find(self, name, *given):
    if where == "delete" and name == "delete_tasks":
        stop()
    return await rows(self, name, *given)

async def stop_and_migrate(*given):
    if where == "create":
        stop()
    await migrate(*given)

session.Session.rows = stop_and_find
opening._migrate = stop_and_migrate

async def main():
    if how == "a pool":
        async with asyncpg.create_pool(dsn, min_size=0) as pool, PostgresSaver(pool, schema=schema) as saver:
            print(await saver.delete_thread("thread"))
    else:
        async with PostgresSaver(dsn, schema=schema, prepared_statements=how == "a DSN") as saver:
            print(await saver.delete_thread("thread"))

asyncio.run(main())
"""

HOWS = ["a DSN", "a DSN of a pooler", "a pool"]


@contextmanager
def stopped(url: str, schema: str, how: str, where: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that has stopped itself during a transaction."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _STOPS_INSIDE, url, schema, how, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", HOWS)
async def test_a_stopped_process_does_not_block_other_writers_of_its_thread(server: Server, how: str) -> None:
    schema = f"stopped, {how}"
    async with PostgresSaver(server.url, schema=schema) as saver:
        writer = await some_thread(saver)
        with stopped(server.url, schema, how, "delete") as process:
            async with asyncio.timeout(20):
                await commit(saver, writer, Step({"count": b"4"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()

            # The server rolled its transaction back, and the process repeats it when it continues.
            process.send_signal(signal.SIGCONT)
            output, _ = await asyncio.to_thread(process.communicate)
        assert output == "True\n"
        found = await saver.load("thread")
        assert found is not None
        assert found.thread.status == "deleted"


@pytest.mark.parametrize("how", HOWS)
async def test_a_process_that_stops_while_it_creates_the_tables_does_not_block_others(server: Server, how: str) -> None:
    schema = f"created, {how}"
    with stopped(server.url, schema, how, "create"):
        async with asyncio.timeout(20), PostgresSaver(server.url, schema=schema) as saver:
            await some_thread(saver)


async def test_a_connection_that_was_idle_too_long_is_replaced(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        PostgresSaver(server.url, schema="idle") as saver,
        asyncpg.create_pool(server.url, min_size=0, max_size=1) as other,
    ):
        writer = await some_thread(saver)

        async def sessions() -> set[int]:
            query = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%apply%' OR query LIKE '%one checkpoint more%'"
            return {row["pid"] for row in await other.fetch(query)} - {await other.fetchval("SELECT pg_backend_pid()")}

        await commit(saver, writer, Step({"count": b"4"}))
        before = await sessions()
        await commit(saver, writer, Step({"count": b"5"}))
        assert await sessions() == before
        monkeypatch.setattr(database, "_LONGEST_IDLE", -1.0)

        await commit(saver, writer, Step({"count": b"6"}))

        assert await sessions() - before
        assert state_of(await loaded(saver, "thread")) == writer.state()
